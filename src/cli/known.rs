//! `logwright known-good` and `known-bad`: what analysts know of findings.

use super::next;
use super::outputs::check_writable;
use super::result::ResultArgs;
use super::stdout::print_line;
use clap::{Args, Subcommand};
use logwright::known::{Entry, Judgement, KnownFile, Scope, What, given};
use logwright::report::columns;
use logwright::{Error, Result, model_folder};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct KnownArgs {
    #[command(subcommand)]
    command: KnownCommand,
}

#[derive(Subcommand)]
enum KnownCommand {
    /// Add what findings or alerts show, as score prints them, or a value of a field
    Add(AddArgs),
    /// Print what is known: a table on a terminal, else one JSON object per line
    List(ListArgs),
    /// Remove entries by their id
    Remove(RemoveArgs),
}

#[derive(Args)]
struct ListArgs {
    /// The folder that score has as --model; its known.json holds what is known
    #[arg(long, value_name = "RUN")]
    model: PathBuf,
    #[command(flatten)]
    result: ResultArgs,
}

#[derive(Args)]
struct AddArgs {
    #[command(flatten)]
    place: ListArgs,
    /// What is known: the value of a field, the kind of an alert, or one record
    #[arg(long, value_enum, required_unless_present = "value", value_name = "WHAT")]
    scope: Option<Scope>,
    /// With --scope field: this field, by path [default: the most unusual one]
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// With --path: this value, without reading a finding
    #[arg(long, value_name = "TEXT", requires = "path", conflicts_with_all = ["from", "scope"])]
    value: Option<String>,
    /// Findings or alerts as score prints them, one per line; - for standard input, the default
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Why it is known; kept with the date
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Args)]
struct RemoveArgs {
    #[command(flatten)]
    place: ListArgs,
    /// Ids as list shows them
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

pub fn run(args: KnownArgs, state: Judgement) -> Result<()> {
    match args.command {
        KnownCommand::Add(args) => add(&args, state),
        KnownCommand::List(args) => {
            let file = KnownFile::read(args.folder()?)?;
            let entries: Vec<Entry> = file.entries.into_iter().filter(|entry| entry.state == state).collect();
            args.print(&entries)?;
            let (command, model) = (state.command(), next::typed(&args.model));
            match entries.last() {
                Some(entry) => {
                    next::command(format!("logwright {command} remove --model {model} {}", entry.id), "takes it back");
                }
                None => next::command(
                    format!("logwright {command} add --model {model} --path PATH --value VALUE --reason WHY"),
                    "there are no entries yet; PATH and VALUE as in the fields of a finding",
                ),
            }
            Ok(())
        }
        KnownCommand::Remove(args) => {
            let mut file = KnownFile::change(args.place.writable()?)?;
            let removed = args.ids.iter().map(|id| file.remove(state, id)).collect::<Result<Vec<_>>>()?;
            file.save()?;
            args.place.print(&removed)?;
            next::command(
                format!("logwright {} list --model {}", state.command(), next::typed(&args.place.model)),
                "what is left; the next score follows it",
            );
            Ok(())
        }
    }
}

/// The cells of an entry in a table.
fn cells(entry: &Entry) -> [String; 5] {
    let (scope, what) = match &entry.what {
        What::Field { path, value } => ("field", format!("{path} = {value}")),
        What::Record { digest } => ("record", digest.clone()),
        What::Template(kind) => {
            let odd = |(path, value): (&String, &Option<String>)| match value {
                Some(value) => format!("{path} = {value}"),
                None => format!("{path} (any value)"),
            };
            ("template", kind.odd.iter().map(odd).collect::<Vec<_>>().join(", "))
        }
    };
    [entry.id.clone(), scope.to_string(), what, entry.reason.clone(), entry.date.clone()]
}

impl ListArgs {
    fn print(&self, entries: &[Entry]) -> Result<()> {
        if !self.result.is_table() {
            return entries.iter().try_for_each(|entry| self.result.print(entry, String::new));
        }
        let heads = ["id", "scope", "what", "reason", "since"].map(String::from);
        let rows: Vec<_> = std::iter::once(heads).chain(entries.iter().map(cells)).collect();
        print_line(&columns(&rows).trim_end())
    }

    fn folder(&self) -> Result<&Path> {
        model_folder::find(&self.model)?;
        Ok(&self.model)
    }

    fn writable(&self) -> Result<&Path> {
        let folder = self.folder()?;
        check_writable("--model", folder)?;
        Ok(folder)
    }
}

fn add(args: &AddArgs, state: Judgement) -> Result<()> {
    let folder = args.place.writable()?;
    let entries: Vec<Entry> = args.what()?.into_iter().map(|what| Entry::new(state, what, &args.reason)).collect();
    let mut file = KnownFile::change(folder)?;
    entries.iter().try_for_each(|entry| file.add(entry.clone()))?;
    file.save()?;
    args.place.print(&entries)?;
    if let Some(entry) = entries.last() {
        let (command, model) = (state.command(), next::typed(&args.place.model));
        next::command(
            format!("logwright {command} remove --model {model} {}", entry.id),
            "takes it back; until then every score follows it",
        );
    }
    Ok(())
}

impl AddArgs {
    fn what(&self) -> Result<Vec<What>> {
        if let (Some(path), Some(value)) = (&self.path, &self.value) {
            return Ok(vec![What::Field { path: path.clone(), value: value.clone() }]);
        }
        let scope = self.scope.expect("the parser asks for it without a value");
        if self.path.is_some() && scope != Scope::Field {
            return Err(Error::usage("--path: it names a field, which only --scope field has"));
        }
        let (name, input): (_, Box<dyn Read>) = match self.from.as_deref().filter(|path| path.as_os_str() != "-") {
            Some(path) => {
                let file = std::fs::File::open(path).map_err(|e| Error::io("open", path, e))?;
                (path.display().to_string(), Box::new(file))
            }
            None => ("standard input".to_string(), Box::new(stdin())),
        };
        let mut found = Vec::new();
        for (number, line) in (1..).zip(BufReader::new(input).lines()) {
            let refuse = |problem: String| Error::failed(format!("{name}, line {number}: {problem}"));
            let line = line.map_err(|e| refuse(e.to_string()))?;
            if line.trim().is_empty() {
                continue;
            }
            let printed: Value = serde_json::from_str(&line).map_err(|e| {
                refuse(format!("expected a finding or an alert as score prints it, found no JSON ({e})"))
            })?;
            let what = given(&printed, scope, self.path.as_deref()).map_err(refuse)?;
            // An alert is printed twice, and a value may be odd in many findings.
            if !found.contains(&what) {
                found.push(what);
            }
        }
        match found.is_empty() {
            true => {
                Err(Error::failed(format!("{name}: expected a finding or an alert as score prints it, found none")))
            }
            false => Ok(found),
        }
    }
}
