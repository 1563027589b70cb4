//! Which generated records are printed, and how many are not, and why.

use logwright::report::Verdict;
use logwright::words::counted;

/// Which records are printed besides those that are whole, valid and as asked.
#[derive(Clone, Copy)]
pub struct Wishes {
    /// Those that are cut off: the output says that they are.
    pub cut_off: bool,
    pub broken: bool,
    pub not_as_asked: bool,
}

/// The records that are not printed.
#[derive(Default)]
pub struct LeftOut {
    cut_off: u64,
    broken: u64,
    not_as_asked: u64,
}

impl LeftOut {
    /// Whether a record is printed; counts it if not.
    pub fn is_printed(&mut self, verdict: &Verdict, as_asked: bool, wishes: Wishes) -> bool {
        let (count, is_wished) = match verdict {
            Verdict::Truncated => (&mut self.cut_off, wishes.cut_off),
            Verdict::Broken { .. } => (&mut self.broken, wishes.broken),
            Verdict::Valid if !as_asked => (&mut self.not_as_asked, wishes.not_as_asked),
            Verdict::Valid => return true,
        };
        *count += u64::from(!is_wished);
        is_wished
    }

    pub fn tell(&self) {
        let LeftOut { cut_off, broken, not_as_asked } = *self;
        if cut_off > 0 {
            tracing::warn!(
                "{} not printed: cut off at --max-tokens; raise it, or see them with --format jsonl",
                counted(cut_off, "record")
            );
        }
        if broken > 0 {
            tracing::info!("{} not printed: not valid (--only-valid)", counted(broken, "record"));
        }
        if not_as_asked > 0 {
            tracing::info!("{} not printed: fields not as asked (--where, --from)", counted(not_as_asked, "record"));
        }
    }
}
