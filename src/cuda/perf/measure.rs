//! Times of single operations, taken from a step that ran: each operation is replayed alone, many times in one CUDA
//! graph, on buffers that together do not fit the caches. And the measured peaks that these times are compared with.

use super::op_recorder::OpRecorder;
use super::peaks::Peaks;
use crate::Result;
use crate::cuda::device::buffer_copies::BufferCopies;
use crate::cuda::device::gemm::{Epilogue, Gemm, Operand, Output};
use crate::cuda::device::kernel::Launch;
use crate::cuda::device::memory::{Buffer, DeviceMemory};
use crate::cuda::device::op::Op;
use crate::cuda::device::seam::Device;
use half::bf16;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct MeasureOptions {
    /// Bytes that an operation goes through before it returns to the same buffers: several times the L2 cache.
    pub rotate: usize,
    /// The number of rounds, of which the median counts.
    pub rounds: usize,
    /// The least number of seconds that a round takes.
    pub round: f64,
}

/// The measured times of the operations of one name.
#[derive(Clone, Debug)]
pub struct OpTiming {
    /// Calls per step.
    pub calls: usize,
    /// The median time of one call.
    pub seconds: f64,
    /// The launch of the first call; a product has none that we know.
    pub launch: Option<Launch>,
    /// Sets of buffers that the calls went through in turn.
    pub sets: usize,
}

/// The least number of launches in a graph, so that the start of the graph does not count.
const LAUNCHES: usize = 16;

/// The most copies of an operation's buffers: small kernels find theirs in the cache in a real step too.
const MOST_COPIES: usize = 63;

/// Operations of one name.
pub struct Group {
    pub name: String,
    pub calls: Vec<Op>,
}

/// The operations by name, in the order of their first calls.
pub fn groups(works: Vec<Op>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for work in works {
        let name = work.name();
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.calls.push(work),
            None => groups.push(Group { name, calls: vec![work] }),
        }
    }
    groups
}

/// Measures the operations of a group by replaying them; one call moves `bytes`.
///
/// Calls of a step may share buffers, so each call goes through all sets before the next call follows. A replay starts
/// from what the last one left: operations that work in place see their own results, and AdamW sees gradients of zero.
///
/// # Safety
/// The buffers of the group are still allocated on the device.
pub unsafe fn measure(
    device: &Arc<OpRecorder>,
    group: &Group,
    bytes: f64,
    method: &MeasureOptions,
) -> Result<OpTiming> {
    let sets = if bytes > 0.0 { (method.rotate as f64 / bytes).ceil() as usize } else { 1 };
    // SAFETY: the caller's promise.
    let copies = unsafe { copies(device, &group.calls, sets)? };
    let everywhere = |work: &Op| -> Vec<Op> {
        let moved = copies.iter().map(|set| work.moved(&|at| set.place(at)));
        std::iter::once(work.clone()).chain(moved).collect()
    };
    let calls: Vec<Op> = group.calls.iter().flat_map(everywhere).collect();
    let turns: Vec<&Op> = calls.iter().cycle().take(calls.len().max(LAUNCHES)).collect();
    // SAFETY (both): the buffers are the caller's promise, or the copies of the same lengths.
    calls.iter().try_for_each(|work| unsafe { work.queue(&**device) })?;
    device.begin_capture()?;
    let recorded = turns.iter().try_for_each(|work| unsafe { work.queue(&**device) });
    let graph = device.end_capture()?;
    recorded?;
    // SAFETY: as above; the copies live to the end of this function.
    let seconds = median_seconds(&**device, method, &|| unsafe { graph.replay() })? / turns.len() as f64;
    let launch = group.calls[0].shape();
    Ok(OpTiming { calls: group.calls.len(), seconds, launch, sets: 1 + copies.len() })
}

/// The median over rounds of the seconds that `work` takes, which is queued as often as a round needs.
fn median_seconds(device: &dyn Device, method: &MeasureOptions, work: &dyn Fn() -> Result<()>) -> Result<f64> {
    let timed = |times: usize| {
        let start = Instant::now();
        (0..times).try_for_each(|_| work())?;
        device.synchronize()?;
        Ok(start.elapsed().as_secs_f64() / times as f64)
    };
    work()?;
    device.synchronize()?;
    let times = (method.round / timed(1)?).ceil().clamp(1.0, 1e4) as usize;
    let mut rounds = (0..method.rounds.max(1)).map(|_| timed(times)).collect::<Result<Vec<f64>>>()?;
    rounds.sort_by(f64::total_cmp);
    Ok(rounds[rounds.len() / 2])
}

/// Copies of the buffers of some operations: so many sets, including the original, or as many as half of the free
/// memory holds.
///
/// # Safety
/// The buffers of the operations are still allocated on the device.
unsafe fn copies(device: &Arc<OpRecorder>, calls: &[Op], sets: usize) -> Result<Vec<BufferCopies>> {
    let allocated = device.allocations();
    let buffer_of = |address: u64| allocated.range(..=address).next_back().map(|(&from, &bytes)| (from, bytes));
    let used: BTreeMap<u64, usize> = calls.iter().flat_map(Op::addresses).filter_map(buffer_of).collect();
    let bytes: usize = used.values().sum();
    let fitting = (device.memory()?.0 / 2) as usize / bytes.max(1);
    let copies = sets.saturating_sub(1).min(fitting).min(MOST_COPIES);
    let memory: Arc<dyn DeviceMemory> = device.clone();
    // SAFETY: the recorder lists what is allocated, with its bytes.
    (0..copies).map(|_| unsafe { BufferCopies::of(&memory, &used) }).collect()
}

/// Measures the peaks that the card reaches: in a product of two bf16 matrices of `size` rows and columns, and in a
/// copy of `bytes` within its memory, which reads and writes each byte.
pub fn peaks(device: &Arc<dyn Device>, size: usize, bytes: usize, method: &MeasureOptions) -> Result<Peaks> {
    let matrix = || noise(device, size * size);
    let (a, b, d) = (matrix()?, matrix()?, Buffer::<bf16>::new(device.clone(), size * size)?);
    let (a, b) = (Operand::plain(a.view()), Operand::plain(b.view()));
    let gemm = Gemm { m: size, n: size, k: size, a, b, d: Output::Rounded(d.view_mut(), Epilogue::None) };
    let product = median_seconds(&**device, method, &|| device.gemm(&gemm))?;
    let (from, to) = (noise(device, bytes / 2)?, Buffer::<bf16>::new(device.clone(), bytes / 2)?);
    let copy = median_seconds(&**device, method, &|| to.view_mut().copy_from(from.view()))?;
    Ok(Peaks::measured(2.0 * (size as f64).powi(3) / product / 1e12, 2.0 * bytes as f64 / copy / 1e9))
}

/// Uniform noise in -1..1: the power that a product draws, and with it a card's clock, depends on the values.
fn noise(device: &Arc<dyn Device>, len: usize) -> Result<Buffer<bf16>> {
    let buffer = Buffer::new(device.clone(), len)?;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let value = || bf16::from_f32(random.next_u32() as f32 / (1u32 << 31) as f32 - 1.0);
    let piece: Vec<bf16> = std::iter::repeat_with(value).take(len.min(1 << 20)).collect();
    for start in (0..len).step_by(piece.len().max(1)) {
        let part = piece.len().min(len - start);
        buffer.view_mut().slice(start..start + part).upload(&piece[..part])?;
    }
    Ok(buffer)
}
