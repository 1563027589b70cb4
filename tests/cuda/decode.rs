use crate::harness::{Bench, Guarded, assert_close, on_devices, random, round, wide};
use half::bf16;
use logwright::cpu::{self, attention};
use logwright::cuda::ops::decode::{self, Append, Attend, CacheShape, Gather};

on_devices! { append attend rows_do_not_touch_one_another gather }

/// A token's slot and position.
type DeviceId = (u32, u32);

/// A row of nobody's.
const NOBODY: [DeviceId; 2] = [(u32::MAX, 0), (0, u32::MAX)];

/// Rows on a device.
struct Rows {
    qkv: Guarded<bf16>,
    slots: Guarded<u32>,
    positions: Guarded<u32>,
}

impl Rows {
    fn views(&self) -> decode::Rows<'_> {
        decode::Rows { qkv: self.qkv.view(), slots: self.slots.view(), positions: self.positions.view() }
    }
}

fn upload(bench: &Bench, qkv: &[f32], places: &[DeviceId]) -> Rows {
    let [slots, positions] = [0, 1].map(|i| places.iter().map(|place| [place.0, place.1][i]).collect::<Vec<u32>>());
    Rows { qkv: bench.rounded(qkv), slots: bench.input(&slots), positions: bench.input(&positions) }
}

/// Every position of slot 0..slots up to its last one, in a mixed order.
fn history(last: &[u32]) -> Vec<DeviceId> {
    let longest = *last.iter().max().unwrap();
    let all = (0..=longest).flat_map(|position| (0..last.len() as u32).map(move |slot| (slot, position)));
    all.filter(|&(slot, position)| position <= last[slot as usize]).collect()
}

/// Keys and values that hold what `append` made of the history; the rest is never written.
fn filled(bench: &Bench, history: &[f32], places: &[DeviceId], cache: CacheShape) -> [Guarded<bf16>; 2] {
    let [keys, values] = [(); 2].map(|_| bench.output(cache.len()));
    let rows = upload(bench, history, places);
    let append = Append { keys: keys.view_mut(), values: values.view_mut(), rows: rows.views(), cache };
    append.run(bench.device()).unwrap();
    [keys, values]
}

fn append(bench: &Bench) {
    for head_size in [8, 40, 64, 128] {
        let cache = CacheShape { slots: 3, context: 5, heads: 2, head_size };
        let places = [(2, 4), (0, 0), NOBODY[0], (2, 3), (3, 0), (1, 2), (1, 5)];
        let qkv = random(places.len() * 3 * 2 * head_size, 1, 1.0);
        let found = filled(bench, &qkv, &places, cache).map(|buffer| bench.read(buffer.view()));
        for (part, found) in found.iter().enumerate() {
            let mut wanted = vec![bf16::from_bits(0xffff); cache.len()];
            for (r, &(slot, position)) in places.iter().enumerate().filter(|(_, p)| p.0 < 3 && p.1 < 5) {
                for h in 0..2 {
                    let to = ((slot as usize * 2 + h) * 5 + position as usize) * head_size;
                    let from = ((r * 3 + 1 + part) * 2 + h) * head_size;
                    wanted[to..to + head_size].copy_from_slice(&round(&qkv[from..from + head_size]));
                }
            }
            // Bits: what was not written is NaN.
            assert!(found.iter().zip(&wanted).all(|(a, b)| a.to_bits() == b.to_bits()), "head size {head_size}");
        }
    }
}

/// Attention at the last position of a slot, whose rows of qkv are given: (NH, HS).
fn last_row<R: cpu::Real>(qkv: &[R], heads: usize, head_size: usize) -> Vec<R> {
    let c = heads * head_size;
    let shape = attention::AttentionShape { batch: 1, seq_len: qkv.len() / (3 * c), heads, head_size };
    let (mut out, mut by_head) = (vec![R::ZERO; shape.seq_len * c], vec![R::ZERO; shape.seq_len * c]);
    let mut lse = vec![R::ZERO; shape.seq_len * heads];
    attention::forward(&mut out, &mut lse, &mut by_head, qkv, shape);
    out.split_off((shape.seq_len - 1) * c)
}

/// The qkv rows of a slot's positions up to `last`, in order.
fn of_slot(qkv: &[f32], places: &[DeviceId], slot: u32, last: u32, width: usize) -> Vec<f32> {
    let row = |position| places.iter().position(|&place| place == (slot, position)).unwrap();
    (0..=last).flat_map(|position| qkv[row(position) * width..][..width].iter().copied()).collect()
}

fn check_attend(bench: &Bench, cache: CacheShape, last: &[u32], scale: f32) {
    let CacheShape { heads, head_size, .. } = cache;
    let (c, width) = (heads * head_size, 3 * heads * head_size);
    let history = history(last);
    let qkv = random(history.len() * width, 7, scale);
    let [keys, values] = filled(bench, &qkv, &history, cache);
    let mut places: Vec<DeviceId> = last.iter().enumerate().map(|(slot, &position)| (slot as u32, position)).collect();
    let rows: Vec<f32> = places
        .iter()
        .flat_map(|&(slot, last)| {
            let all = of_slot(&qkv, &history, slot, last, width);
            all[all.len() - width..].to_vec()
        })
        .chain(random(2 * width, 8, scale))
        .collect();
    places.extend(NOBODY);
    let rows = upload(bench, &rows, &places);
    let out = bench.output(places.len() * c);
    let scratch = bench.output(decode::scratch(places.len(), cache));
    attend_once(bench, &out, &scratch, &rows, [&keys, &values], cache);
    let found = bench.read(out.view());
    for (found, &(slot, last)) in found.chunks(c).zip(&places[..last.len()]) {
        let seen = of_slot(&qkv, &history, slot, last, width);
        let (truth, naive) = (last_row(&wide(&seen), heads, head_size), last_row(&seen, heads, head_size));
        assert_close(&format!("{cache:?}, position {last}"), found, &truth, &round(&naive));
    }
    assert_eq!(found[last.len() * c..], vec![bf16::ZERO; 2 * c], "rows of nobody's");
}

fn attend_once(
    bench: &Bench,
    out: &Guarded<bf16>,
    scratch: &Guarded<f32>,
    rows: &Rows,
    [keys, values]: [&Guarded<bf16>; 2],
    cache: CacheShape,
) {
    let (out, scratch, rows) = (out.view_mut(), scratch.view_mut(), rows.views());
    Attend { out, scratch, rows, keys: keys.view(), values: values.view(), cache }.run(bench.device()).unwrap();
}

fn attend(bench: &Bench) {
    let cache = |slots, context, heads, head_size| CacheShape { slots, context, heads, head_size };
    check_attend(bench, cache(6, 257, 2, 64), &[0, 1, 62, 63, 64, 256], 1.0);
    check_attend(bench, cache(3, 600, 1, 128), &[255, 31, 520], 1.0);
    check_attend(bench, cache(3, 300, 3, 32), &[127, 299, 256], 2.0);
    // Head sizes that leave lanes without work; a context of one.
    check_attend(bench, cache(2, 70, 2, 8), &[69, 5], 2.0);
    check_attend(bench, cache(2, 40, 1, 96), &[39, 20], 1.0);
    check_attend(bench, cache(1, 1, 2, 64), &[0], 1.0);
    // Scores so far apart that all weight lies on one key: nothing may overflow.
    check_attend(bench, cache(2, 300, 1, 64), &[290, 17], 60.0);
}

/// The same bits, whatever else is in the batch and however much room the cache has.
fn rows_do_not_touch_one_another(bench: &Bench) {
    let (heads, head_size, width) = (2, 64, 3 * 2 * 64);
    let last = [300, 20, 258];
    let history = history(&last);
    let qkv = random(history.len() * width, 3, 1.0);
    let run = |places: &[DeviceId], context| {
        let cache = CacheShape { slots: 3, context, heads, head_size };
        let [keys, values] = filled(bench, &qkv, &history, cache);
        let of_place = |&(slot, position): &DeviceId| random(width, 100 + (slot * 1000 + position) as u64, 1.0);
        let rows = upload(bench, &places.iter().flat_map(of_place).collect::<Vec<f32>>(), places);
        let out = bench.output(places.len() * heads * head_size);
        let scratch = bench.output(decode::scratch(places.len(), cache));
        attend_once(bench, &out, &scratch, &rows, [&keys, &values], cache);
        bench.read(out.view())
    };
    let together = run(&[(0, 300), (1, 20), NOBODY[0], (2, 258), (0, 280)], 301);
    let c = heads * head_size;
    for (row, place) in [(0, (0, 300)), (1, (1, 20)), (3, (2, 258)), (4, (0, 280))] {
        assert_eq!(run(&[place], 800), together[row * c..(row + 1) * c], "{place:?}");
    }
}

fn gather(bench: &Bench) {
    for (n, c, rows) in [(1, 8, vec![0]), (7, 64, vec![6, 0, 3, 3]), (300, 768, vec![299, 300, 17, u32::MAX])] {
        let from = random(n * c, 1, 1.0);
        let (to, device_from, device_rows) = (bench.output(rows.len() * c), bench.rounded(&from), bench.input(&rows));
        let gather = Gather { to: to.view_mut(), from: device_from.view(), rows: device_rows.view() };
        gather.run(bench.device()).unwrap();
        let row = |&row: &u32| match from.get(row as usize * c..).and_then(|rest| rest.get(..c)) {
            Some(row) => round(row),
            None => vec![bf16::ZERO; c],
        };
        assert_eq!(bench.read(to.view()), rows.iter().flat_map(row).collect::<Vec<bf16>>());
    }
}
