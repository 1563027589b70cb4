//! Kernels for Hopper with a planted bug each (`kernels/emulator/tests/bugs_hopper.cu`), and their good twins.

use crate::floats;
use crate::launches::{entries, tensor_map};
use crate::planted::Plain::{self, Misses, Notices};
use crate::planted::{CHECK, Case, Room, cases};

cases! {
    store_without_proxy_fence              Misses "fence.proxy.async is missing" 1 x 256 |x, i| x[i];
    proxy_fence_by_one_thread_alone        Misses "fence.proxy.async is missing" 1 x 256 |x, i| x[i];
    load_of_what_the_block_has_written     Misses "fence.proxy.async is missing" 1 x 256 |x, i| x[i];
    product_without_proxy_fence            Misses "fence.proxy.async is missing" 1 x 128 |x, i| x[i];
    product_of_cp_async_without_proxy_fence Misses "fence.proxy.async is missing" 1 x 128 |x, i| x[i];
    tile_off_its_alignment                 Notices "do not begin at a multiple of 1024" 1 x 128 |x, i| x[i];
    tile_written_during_the_product        Notices "race" 1 x 128 |x, i| x[i];
    stage_released_before_the_wait         Misses "stage reused too early" 1 x 256 |x, i| x[i];
    one_warp_releases_for_all              Misses "stage reused too early" 1 x 256 |x, i| x[i];
    full_waited_for_too_late               Notices "not at all" 1 x 256 |x, i| x[i];
    wrong_parity                           Notices "wrong parity" 1 x 256 |x, i| x[i];
    parity_that_never_flips                Notices "phase overrun" 1 x 256 |x, i| x[i];
    loader_with_the_other_parity           Notices "deadlock" 1 x 256 |x, i| x[i];
    stage_not_waited_for                   Notices "has its 1 arrivals already" 1 x 256 |x, i| x[i];
    too_few_bytes                          Notices "wrong byte count" 1 x 256 |x, i| x[i];
    too_many_bytes                         Notices "1024 of 3072 announced bytes" 1 x 256 |x, i| x[i];
    all_lanes_arrive                       Notices "has its 1 arrivals already" 1 x 256 |x, i| x[i];
    too_few_releases                       Notices "1 of 5 arrivals are missing" 1 x 256 |x, i| x[i];
    barrier_not_shown                      Notices "fence.mbarrier_init is missing" 1 x 256 |x, i| x[i];
    barrier_not_waited_for                 Notices "nothing orders the initialisation" 1 x 256 |x, i| x[i];
    product_not_committed                  Notices "register touched in flight" 1 x 256 |x, i| x[i];
    product_waited_for_one_group_too_few   Notices "register touched in flight" 1 x 256 |x, i| x[i];
    sums_read_too_early                    Misses "an accumulator of the wgmma" 1 x 256 |x, i| x[i];
    left_side_overwritten                  Notices "a left side of the wgmma" 1 x 256 |x, i| x[i];
    no_wgmma_fence                         Misses "wgmma.fence is missing" 1 x 256 |x, i| x[i];
    wgmma_fence_before_the_sums_are_cleared Misses "wgmma.fence is missing" 1 x 256 |x, i| x[i];
    one_warp_stays_away                    Notices "that warp 3 of its warpgroup does not issue" 1 x 256 |x, i| x[i];
    left_without_waiting                   Notices "wgmma.wait_group is missing" 1 x 256 |x, i| x[i];
    box_at_the_edge_counted_by_what_is_there Notices "wrong byte count" 1 x 256 |x, i| x[i];
    phase_that_a_slow_thread_misses        Notices "phase 2 is under way" 1 x 256 |x, i| x[i];
    staging_written_before_the_store_has_read Notices "race: 16-byte bulk store" 1 x 256 |x, i| x[i];
    store_read_back_before_it_is_written   Misses "cp.async.bulk under way" 1 x 256 |x, i| x[i];
    store_not_committed                    Notices "cp.async.bulk.commit_group" 1 x 256 |x, i| x[i];
    exit_during_a_store                    Notices "may still read shared memory" 1 x 256 |x, i| x[i];
    more_registers_than_there_are          Notices "wait in setmaxnreg.inc for 240 registers" 1 x 384 |x, i| x[i];
    registers_changed_by_one_warp_alone    Notices "all warps of a warpgroup" 1 x 384 |x, i| x[i];
    turns_that_nobody_begins               Notices "wait in bar.sync for barrier" 1 x 384 |x, i| x[i];
    barrier_with_two_counts                Notices "others expect" 1 x 384 |x, i| x[i];
    barrier_reached_twice                  Notices "has arrived at barrier 1 already" 1 x 384 |x, i| x[i];
    arrival_taken_for_a_wait               Notices "race" 1 x 384 |x, i| x[i];
}

fn room() -> Room {
    Room::new(8192, |out, from| {
        let map = |of| tensor_map(of, &[32, 8], &[32, 8]);
        vec![floats(out), floats(from), map(from), map(out)]
    })
}

#[test]
fn every_bug_is_noticed() {
    room().notices_every_bug(&cases());
}

#[test]
fn no_good_twin_is_blamed() {
    room().blames_no_good_twin(&cases());
}

/// Messages name barriers by the variable that holds them, and what was found before the launch ended.
#[test]
fn a_wait_that_never_ends_is_explained() {
    let (room, cases) = (room(), cases());
    let of = |name: &str| cases.iter().find(|case| case.bad.name() == name).unwrap();
    let message = room.run(of("bad_too_many_bytes").bad, of("bad_too_many_bytes"), 0).unwrap();
    for part in
        ["deadlock: 128 threads (first: 0)", "of parity 0 of mbarrier dynamic shared memory + 4096", "bugs_hopper.cu:"]
    {
        assert!(message.contains(part), "\"{part}\" is missing in: {message}");
    }
    if CHECK {
        let message = room.run(of("bad_wrong_parity").bad, of("bad_wrong_parity"), 0).unwrap();
        for part in
            ["phase overrun", "before that, kernel bad_wrong_parity", "the thread has seen the end of 0 phases there"]
        {
            assert!(message.contains(part), "\"{part}\" is missing in: {message}");
        }
    }
}
