//! All settings of a training run: from the preset, then the TOML file, then flags, each overriding the one before.

use super::provenance::Provenance;
use super::schedule::{LearningRates, Schedule};
use crate::dataset::Windows;
use crate::gpt::Config;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The resolved settings; saved as `config.toml` in the run folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The named settings over which the others were laid.
    pub preset: String,
    pub layers: usize,
    pub heads: usize,
    pub channels: usize,
    pub context: usize,
    pub bias: bool,
    /// Sequences per micro-batch.
    pub batch: usize,
    /// Micro-batches per optimiser step.
    pub accumulation: usize,
    pub windows: Windows,
    /// Total optimiser steps.
    pub steps: u64,
    /// Passes over the training data, as it was asked for; `plan` turns them into `steps` once the data is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// Peak learning rate.
    pub learning_rate: f32,
    /// Learning rate at the end of the schedule.
    pub min_learning_rate: f32,
    /// Steps of linear warm-up.
    pub warmup: u64,
    pub schedule: Schedule,
    /// Fraction of the steps in which the `wsd` schedule decays.
    pub decay_fraction: f64,
    pub beta_1: f32,
    pub beta_2: f32,
    pub epsilon: f32,
    pub weight_decay: f32,
    /// Maximum global gradient norm; 0: no clipping.
    pub grad_clip: f32,
    /// Steps between validations; 0: only at the end.
    pub eval_every: u64,
    /// Windows per validation, spread evenly; 0: all of them.
    pub eval_windows: u64,
    /// Steps between checkpoints of `last/`; 0: only at the end.
    pub save_every: u64,
    /// Validations without improvement before the run stops early; 0: never.
    pub patience: u64,
    /// Consecutive skipped (not finite) updates before the run fails.
    pub max_skipped: u64,
    /// Train on the first batch over and over: the loss of a correct model goes to almost nothing.
    pub overfit: bool,
    /// Fraction of the windows that come from `--replay` data, where that is given.
    pub replay_share: f64,
    pub seed: u64,
}

/// Named starting points, as TOML.
pub const PRESETS: [(&str, &str); 5] = [
    ("tiny", include_str!("presets/tiny.toml")),
    ("small", include_str!("presets/small.toml")),
    ("cyber-foundation", include_str!("presets/cyber-foundation.toml")),
    ("gpt2", include_str!("presets/gpt2.toml")),
    ("gpt2-medium", include_str!("presets/gpt2-medium.toml")),
];

/// Maximum number of tokens per step, a guard against mistakes: 137 times the 0.5 M of the large presets.
pub const MOST_TOKENS: usize = 1 << 26;

/// Maximum number of steps; with [`MOST_TOKENS`], no count of tokens overflows.
pub const MOST_STEPS: u64 = 1 << 32;

/// The preset of a run that asks for none.
const DEFAULT_PRESET: &str = "tiny";

/// The settings of every preset that does not set them.
const DEFAULTS: &str = include_str!("presets/defaults.toml");

impl TrainConfig {
    /// The settings of a new run: those of the preset (else the file's, else `tiny`), of the file, and the flags that were given,
    /// as a TOML table.
    pub fn resolve(preset: Option<&str>, file: Option<&Path>, overrides: toml::Table) -> Result<Self> {
        let given = file.map(read_table).transpose()?.unwrap_or_default();
        let of_file = given.get("preset").map(|name| name.as_str().map_or_else(|| name.to_string(), String::from));
        let (origin, preset) = match (preset, of_file) {
            (Some(preset), _) => ("--preset".to_string(), preset.to_string()),
            (None, Some(preset)) => (file.map_or(String::new(), |path| format!("{}: preset", path.display())), preset),
            (None, None) => (String::new(), DEFAULT_PRESET.to_string()),
        };
        let names = || PRESETS.map(|(name, _)| name).join(", ");
        let (_, preset_text) = PRESETS
            .iter()
            .find(|(name, _)| *name == preset)
            .ok_or_else(|| Error::usage(format!("{origin} {preset}: unknown; expected one of {}", names())))?;
        let mut table: toml::Table = DEFAULTS.parse().expect("the defaults are valid TOML");
        table.extend(preset_text.parse::<toml::Table>().expect("presets are valid TOML"));
        if let Some(path) = file.filter(|_| given.contains_key("epochs") && given.contains_key("steps")) {
            return Err(Error::usage(format!(
                "{}: it has steps and epochs, which say the same; remove one of the two",
                path.display()
            )));
        }
        table.extend(given);
        table.insert("preset".into(), preset.into());
        if overrides.contains_key("steps") {
            table.remove("epochs");
        }
        table.extend(overrides);
        let origin = file.map_or("flags".to_string(), |path| format!("{} with the flags", path.display()));
        Self::from_table(table, &origin)
    }

    /// Reads the `config.toml` that a run saved, with overrides on top, as far as these do not change the model or the order of
    /// the data.
    pub fn resume(path: &Path, overrides: toml::Table) -> Result<Self> {
        let mut table = read_table(path)?;
        // Runs of before version 0.2 do not name it.
        table.entry("preset").or_insert_with(|| "not known".into());
        let origin = format!("{}: expected the settings that a run saved", path.display());
        let saved = Self::from_table(table.clone(), &origin)?;
        table.extend(overrides);
        let config = Self::from_table(table, "flags")?;
        match config.differences(&saved).first() {
            None => Ok(config),
            Some(name) => Err(Error::usage(format!(
                "--resume: {name} cannot change in the middle of a run, because the model or the order of the data depends on it; \
                 start another run with --init-from"
            ))),
        }
    }

    fn from_table(table: toml::Table, origin: &str) -> Result<Self> {
        let config: TrainConfig = table
            .try_into()
            .map_err(|e: toml::de::Error| Error::usage(format!("{origin}: {}", e.to_string().trim())))?;
        config.check().map_err(|what| Error::usage(format!("{origin}: {what}")))?;
        // Any vocabulary shows what is wrong with the other sizes.
        config.model(2).map_err(|e| Error::usage(format!("{origin}: {e}")))?;
        Ok(config)
    }

    /// Checks what the types do not guarantee.
    fn check(&self) -> std::result::Result<(), String> {
        let wrong = |what: String| Err(what);
        for (name, value) in [("batch", self.batch), ("accumulation", self.accumulation)] {
            if value == 0 {
                return wrong(format!("{name} must be at least 1, found 0"));
            }
        }
        for (name, value) in [("steps", self.steps), ("max_skipped", self.max_skipped)] {
            if value == 0 {
                return wrong(format!("{name} must be at least 1, found 0"));
            }
        }
        for (name, value) in [("steps", self.steps), ("warmup", self.warmup)] {
            if value > MOST_STEPS {
                return wrong(format!("{name} must be at most {MOST_STEPS}, found {value}"));
            }
        }
        let window = self.batch.checked_mul(self.accumulation).and_then(|n| n.checked_mul(self.context));
        if window.is_none_or(|tokens| tokens > MOST_TOKENS) {
            return wrong(format!("batch x accumulation x context must be at most {MOST_TOKENS} tokens per step"));
        }
        if let Some(epochs) = self.epochs.filter(|epochs| !(*epochs > 0.0 && epochs.is_finite())) {
            return wrong(format!("epochs must be a positive number, found {epochs}"));
        }
        let positive = [("learning_rate", self.learning_rate), ("epsilon", self.epsilon)];
        for (name, value) in positive {
            if !(value > 0.0 && value.is_finite()) {
                return wrong(format!("{name} must be a positive number, found {value}"));
            }
        }
        let not_negative = [
            ("min_learning_rate", self.min_learning_rate),
            ("weight_decay", self.weight_decay),
            ("grad_clip", self.grad_clip),
        ];
        for (name, value) in not_negative {
            if !(value >= 0.0 && value.is_finite()) {
                return wrong(format!("{name} must be 0 or more, found {value}"));
            }
        }
        for (name, value) in [("beta_1", self.beta_1), ("beta_2", self.beta_2)] {
            if !(0.0..1.0).contains(&value) {
                return wrong(format!("{name} must lie in [0, 1), found {value}"));
            }
        }
        for (name, value) in [("decay_fraction", self.decay_fraction), ("replay_share", self.replay_share)] {
            if !(0.0..=1.0).contains(&value) {
                return wrong(format!("{name} must lie in [0, 1], found {value}"));
            }
        }
        Ok(())
    }

    /// The model this run trains, for a vocabulary of `vocab`.
    pub fn model(&self, vocab: usize) -> Result<Config> {
        let TrainConfig { layers, heads, channels, context, bias, .. } = *self;
        let config = Config { layers, heads, channels, context, vocab, bias };
        config.check()?;
        Ok(config)
    }

    /// Adopts the shape of the model that training starts from; a flag or a line of `file` that asks for another shape is an
    /// error.
    pub fn adopt(&mut self, model: &Config, file: Option<&Path>, flags: &toml::Table) -> Result<()> {
        let mut given = file.map(read_table).transpose()?.unwrap_or_default();
        given.extend(flags.clone());
        let asked = self.clone();
        let Config { layers, heads, channels, context, bias, .. } = *model;
        *self = TrainConfig { layers, heads, channels, context, bias, ..asked.clone() };
        let shape = ["layers", "heads", "channels", "context", "bias"];
        match self.differences(&asked).into_iter().find(|name| shape.contains(name) && given.contains_key(*name)) {
            Some(name) => {
                let from = if flags.contains_key(name) { "--" } else { "--config: " };
                Err(Error::usage(format!(
                    "{from}{name}: the model that training starts from has another value; omit it"
                )))
            }
            None => Ok(()),
        }
    }

    /// Names of the settings in which two configurations differ.
    fn differences(&self, other: &TrainConfig) -> Vec<&'static str> {
        let pairs = [
            ("layers", self.layers == other.layers),
            ("heads", self.heads == other.heads),
            ("channels", self.channels == other.channels),
            ("context", self.context == other.context),
            ("bias", self.bias == other.bias),
            ("windows", self.windows == other.windows),
            ("seed", self.seed == other.seed),
            ("overfit", self.overfit == other.overfit),
            ("replay_share", self.replay_share == other.replay_share),
            ("batch x accumulation", self.batch * self.accumulation == other.batch * other.accumulation),
        ];
        pairs.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }

    /// Learning rate of update `step` (from 0).
    pub fn lr(&self, step: u64) -> f32 {
        let TrainConfig { learning_rate: peak, min_learning_rate: min, warmup, steps, decay_fraction, .. } = *self;
        self.schedule.lr(&LearningRates { peak, min, warmup, steps, decay_fraction }, step)
    }

    /// Tokens per step.
    pub fn tokens_per_step(&self) -> u64 {
        (self.batch * self.accumulation * self.context) as u64
    }

    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("plain values serialise")
    }
}

/// The settings in a file. What a run's config.toml says of where it comes from is none.
fn read_table(path: &Path) -> Result<toml::Table> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let mut table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| Error::usage(format!("{}: {e}", path.display())))?;
    Provenance::MEMBERS.iter().for_each(|name| drop(table.remove(*name)));
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_resolves() {
        for (name, _) in PRESETS {
            let config = TrainConfig::resolve(Some(name), None, toml::Table::new()).unwrap();
            config.model(512).unwrap();
        }
    }

    #[test]
    fn the_seed_run_has_its_numbers() {
        let config = TrainConfig::resolve(Some("cyber-foundation"), None, toml::Table::new()).unwrap();
        assert_eq!(config.tokens_per_step(), 491_520);
        assert_eq!(
            (config.layers, config.heads, config.channels, config.context, config.bias),
            (12, 12, 768, 2048, false)
        );
    }

    #[test]
    fn flags_win_over_the_file_which_wins_over_the_preset() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "steps = 7\nbatch = 3\n").unwrap();
        let flags = toml::Table::from_iter([("steps".to_string(), toml::Value::from(9))]);
        let config = TrainConfig::resolve(Some("tiny"), Some(file.path()), flags).unwrap();
        assert_eq!((config.steps, config.batch), (9, 3));
        let saved: TrainConfig = toml::from_str(&config.to_toml()).unwrap();
        assert_eq!(saved, config);
    }

    #[test]
    fn the_later_of_steps_and_epochs_wins() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let of = |text: &str, flags: &str| {
            std::fs::write(file.path(), text).unwrap();
            TrainConfig::resolve(None, Some(file.path()), flags.parse().unwrap())
        };
        assert_eq!(of("steps = 7\n", "epochs = 2.5").unwrap().epochs, Some(2.5));
        assert_eq!(of("epochs = 3\n", "").unwrap().epochs, Some(3.0));
        let config = of("epochs = 3\n", "steps = 9").unwrap();
        assert_eq!((config.epochs, config.steps), (None, 9));
        for (text, said) in [("epochs = 3\nsteps = 9\n", "remove one"), ("epochs = 0\n", "epochs must be a positive")] {
            let message = of(text, "").unwrap_err().to_string();
            assert!(message.contains(said), "{message}");
        }
    }

    #[test]
    fn a_file_may_name_its_preset() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "preset = \"small\"\nsteps = 7\ndata = \"0badcafe\"\n").unwrap();
        let config = TrainConfig::resolve(None, Some(file.path()), toml::Table::new()).unwrap();
        assert_eq!((&*config.preset, config.layers, config.steps), ("small", 6, 7));
        let config = TrainConfig::resolve(Some("tiny"), Some(file.path()), toml::Table::new()).unwrap();
        assert_eq!((&*config.preset, config.layers), ("tiny", 3));
        std::fs::write(file.path(), "preset = 7\n").unwrap();
        let message = TrainConfig::resolve(None, Some(file.path()), toml::Table::new()).unwrap_err().to_string();
        assert!(message.contains("preset 7: unknown") && message.contains("small"), "{message}");
    }

    #[test]
    fn every_example_is_one_that_train_takes() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() > 3);
        for file in files {
            let config = TrainConfig::resolve(None, Some(&file), toml::Table::new()).unwrap();
            config.model(2048).unwrap();
            // A line that only repeats the preset would be a setting that somebody forgot to change.
            let preset = TrainConfig::resolve(Some(&config.preset), None, toml::Table::new()).unwrap();
            let (own, preset) = (toml::Table::try_from(&config).unwrap(), toml::Table::try_from(&preset).unwrap());
            for name in read_table(&file).unwrap().keys().filter(|name| *name != "preset" && *name != "replay_share") {
                assert_ne!(own[name], preset[name], "{}: {name}", file.display());
            }
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "stepz = 7\n").unwrap();
        let message =
            TrainConfig::resolve(Some("tiny"), Some(file.path()), toml::Table::new()).unwrap_err().to_string();
        assert!(message.contains("stepz"), "{message}");
    }
}
