//! Measuring operations one by one: what is replayed, and on which buffers.

use crate::harness::{Bench, on_devices};
use logwright::cuda::device::memory::DeviceMemory;
use logwright::cuda::device::op::Op;
use logwright::cuda::device::seam::Device;
use logwright::cuda::emulator::device::Emulator;
use logwright::cuda::model::engine::{CudaEngine, Options};
use logwright::cuda::perf::measure::{self, Group, MeasureOptions};
use logwright::cuda::perf::op_recorder::OpRecorder;
use logwright::engine::{Batch, Engine};
use logwright::gpt::{Config, Layout, init};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

on_devices! { sets_of_buffers_take_turns peaks_are_rates_of_the_sizes_given }

const CONFIG: Config = Config { layers: 3, heads: 1, channels: 32, context: 16, vocab: 20, bias: true };
const METHOD: MeasureOptions = MeasureOptions { rotate: 0, rounds: 1, round: 0.0 };

/// An engine behind a watched device, and the operations of its forward and backward pass.
fn step(bench: &Bench, config: Config) -> (Arc<OpRecorder>, CudaEngine, Vec<Group>) {
    let watched = Arc::new(OpRecorder::new(bench.device.clone()));
    let parameters = init::parameters(&Layout::new(&config), 1);
    let options = Options { eager: true, ..Options::default() };
    let mut engine = CudaEngine::new(watched.clone(), config, parameters, options).unwrap();
    watched.take();
    let tokens = [1; 16];
    engine.accumulate(Batch { tokens: &tokens, targets: &tokens, seq_len: 16 }, 1.0).unwrap();
    let groups = measure::groups(watched.take());
    (watched, engine, groups)
}

#[test]
fn groups_hold_every_call_of_a_name() {
    let (_, _engine, groups) = step(&Bench::emulator(0), CONFIG);
    let calls = |name: &str| groups.iter().find(|group| group.name == name).unwrap().calls.len();
    assert_eq!((calls("attention_forward_32"), calls("residual_layernorm_forward")), (3, 6));
    assert_eq!(calls("gemm 16x96x32 bias"), 3);
}

#[test]
fn moved_work_has_all_its_addresses_moved_and_nothing_else() {
    let (_, _engine, groups) = step(&Bench::emulator(0), CONFIG);
    // Some of whose kernels have tensor maps among their arguments.
    let (_, _hopper_engine, hopper) = step(&Bench::hopper(0), Config { channels: 64, ..CONFIG });
    let keys = hopper.iter().find(|group| group.name == "attention_hopper_keys_64").unwrap();
    assert_eq!(keys.calls[0].addresses().len(), 4, "three tensors and the rows");
    for work in groups.iter().chain(&hopper).flat_map(|group| &group.calls) {
        let there = work.moved(&|address| address + 4096);
        let expected: Vec<u64> = work.addresses().iter().map(|address| address + 4096).collect();
        assert!(!expected.is_empty() && there.addresses() == expected, "{}", work.name());
        let pair = (work, there.moved(&|address| address - 4096));
        if let (Op::Launch { arguments: a, .. }, Op::Launch { arguments: b, .. }) = (pair.0, &pair.1) {
            assert_eq!(a, b, "{}", work.name());
        }
        assert_eq!(work.name(), there.name());
    }
}

/// Buffers take turns, in so many sets as the bytes ask for; a copy holds what the original held.
fn sets_of_buffers_take_turns(bench: &Bench) {
    let (watched, _engine, groups) = step(bench, CONFIG);
    let group = groups.iter().find(|group| group.name == "attention_forward_32").unwrap();
    for (rotate, sets) in [(0, 1), (1000, 1), (1001, 2), (4001, 5), (usize::MAX, 64)] {
        watched.take();
        // SAFETY: the engine lives.
        let found = unsafe { measure::measure(&watched, group, 1000.0, &MeasureOptions { rotate, ..METHOD }).unwrap() };
        assert_eq!((found.calls, found.sets), (3, sets), "{rotate}");
        assert!(found.seconds > 0.0);
        let outputs: Vec<u64> = watched.take().iter().map(|work| work.addresses()[0]).collect();
        // Calls may share buffers, so a call goes through all sets first.
        let originals: Vec<u64> = group.calls.iter().map(|work| work.addresses()[0]).collect();
        assert_eq!(outputs.iter().position(|&at| at == originals[1]), Some(sets));
        let outputs = BTreeSet::from_iter(outputs);
        assert_eq!(outputs.len(), 3 * sets);
        assert!(originals.iter().all(|at| outputs.contains(at)));
    }
}

/// Idle is what passes between a wait and the next work; what passes while nothing was waited for is the device's.
#[test]
fn idle_time_is_that_between_a_wait_and_the_next_work() {
    let pause = Duration::from_millis(20);
    let watched = OpRecorder::new(Arc::new(Emulator::new(0)));
    let address = watched.allocate(16).unwrap();
    // SAFETY: allocated above with this many bytes.
    let queue = || unsafe { watched.clear(address, 16).unwrap() };
    queue();
    sleep(pause);
    queue();
    assert_eq!(watched.take_idle(), Duration::ZERO);
    let synchronize = || watched.synchronize();
    // SAFETY: as above.
    let download = || unsafe { watched.download(&mut [0; 16], address) };
    for wait in [&synchronize as &dyn Fn() -> logwright::Result<()>, &download] {
        let start = Instant::now();
        wait().unwrap();
        sleep(pause);
        queue();
        let most = start.elapsed();
        sleep(pause);
        queue();
        assert!((pause..=most).contains(&watched.take_idle()));
    }
    assert_eq!(watched.take_idle(), Duration::ZERO);
}

#[test]
fn few_copies_are_made_where_memory_is_short() {
    let device: Arc<dyn Device> = Arc::new(Emulator::with_memory(0, 10 << 10));
    let watched = Arc::new(OpRecorder::new(device));
    let address = watched.allocate(2 << 10).unwrap();
    // SAFETY: allocated above with this many bytes.
    unsafe { watched.upload(address, &[1; 2 << 10]).unwrap() };
    let calls = vec![Op::Clear { at: address, bytes: 2 << 10 }];
    let group = Group { name: "clear".to_string(), calls };
    // SAFETY: allocated above.
    let found =
        unsafe { measure::measure(&watched, &group, 1.0, &MeasureOptions { rotate: 1 << 20, ..METHOD }).unwrap() };
    // 8 KiB are free, of which copies take half.
    assert_eq!(found.sets, 3);
}

fn peaks_are_rates_of_the_sizes_given(bench: &Bench) {
    let peaks = measure::peaks(&bench.device, 32, 1 << 16, &MeasureOptions { rounds: 3, ..METHOD }).unwrap();
    assert!(peaks.tflops > 0.0 && peaks.bandwidth > 0.0);
}
