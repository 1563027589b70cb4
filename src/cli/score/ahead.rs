//! Lines are read, made into tokens and answered while a device beside the host computes others.

use logwright::Result;
use logwright::ingest::Feed;
use logwright::score::{RecordReader, Scorer};
use logwright::stream::Lines;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;

/// What there is to answer.
pub enum Turn {
    /// A batch, and the surprisals of its tokens.
    Computed(Lines, Vec<Vec<f32>>),
    /// Nothing for a moment.
    Idle,
}

/// Batches on their way: one that the device computes, and one that it finds when it is done.
const UNDER_WAY: usize = 2;

/// Takes all lines of the feed through the model in batches of at most `most`, and answers them in their order. What was read
/// is answered at once where no more lines are there, so nobody waits for the next batch. The inner result is that of reading,
/// after everything that was read before it failed has been answered.
pub fn read_ahead(
    scorer: &mut Scorer,
    feed: &mut Feed,
    most: usize,
    stop: &AtomicBool,
    answer: &mut dyn FnMut(&RecordReader, Turn) -> Result<()>,
) -> Result<Result<()>> {
    let Scorer { model, reader } = scorer;
    std::thread::scope(|scope| {
        let (jobs, todo) = channel::<Lines>();
        let (done, results) = channel();
        scope.spawn(move || {
            for lines in todo {
                let nats = model.surprisals(&lines.tokenized);
                // The send fails only if an answer failed, and then nobody needs this one.
                let _ = done.send((lines, nats));
            }
        });
        let mut under_way = 0;
        let next = || {
            let (lines, nats) = results.recv().expect("one result for each batch");
            nats.map(|nats| Turn::Computed(lines, nats))
        };
        let ended = loop {
            let read = if under_way == 0 { feed.next(most, stop) } else { feed.available(most, stop) };
            let lines = match read {
                Ok(Some(lines)) => lines,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            let none_there = lines.is_empty();
            if !none_there {
                jobs.send(Lines::read(reader, lines)).expect("the device's thread waits for batches");
                under_way += 1;
            }
            if under_way == UNDER_WAY || (none_there && under_way > 0) {
                answer(reader, next()?)?;
                under_way -= 1;
            } else if none_there {
                answer(reader, Turn::Idle)?;
            }
        };
        (0..under_way).try_for_each(|_| answer(reader, next()?))?;
        Ok(ended)
    })
}
