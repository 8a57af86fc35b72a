//! `schema`: what each command prints with `--json`, as JSON Schema, made of the very types that are printed. A record that does not
//! stand in the table here cannot be printed, and a test makes the page `node/JSON.md` of it.

use clap::Args;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::context::Context;
use super::failure::{Exit, Failure};
use super::{
    SettingRecord, add, authors, backup, documents, emergence, forget, grains, health, log, maintenance,
    many, models, net, open, output, peers, pin, record, run, search, share, sources, status, sync, token,
    topics, transfer, update, watch,
};

/// What errors are found under: any command may print one, on standard error.
const ERROR: &str = "error";

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// The command, such as `search`, `models show` or, with an option, `list count`; `error` is what any of them says when it fails
    /// [default: all]
    command: Vec<String>,
}

/// What a command may print for scripts.
pub(crate) trait Printed: Serialize + JsonSchema {}

/// A kind of record, and the commands that print it.
struct Kind {
    commands: &'static [&'static str],
    schema: fn(&mut SchemaGenerator) -> Schema,
}

/// Says of each kind of record which commands print it.
macro_rules! kinds {
    ($($record:ty: $($command:literal),+;)+) => {
        $(impl Printed for $record {})+

        const KINDS: &[Kind] =
            &[$(Kind { commands: &[$($command),+], schema: |generator| <$record>::json_schema(generator) }),+];
    };
}

kinds! {
    output::FailureRecord<'_>: "error";
    run::ReadyRecord<'_>: "run";
    add::Event<'_>: "add";
    add::dry_run::Event<'_>: "add --dry-run";
    sources::SourceRecord<'_>: "sources add";
    sources::StateRecord<'_>: "sources list";
    sources::ReportRecord<'_>: "sources add", "sources sync";
    sources::RemovedRecord<'_>: "sources remove";
    search::AskedRecord<'_, record::HitRecord<'_>>: "search";
    search::SummaryRecord<'_>: "search";
    record::DetailRecord<'_>: "get";
    update::UpdateRecord<'_>: "update";
    open::OpenedRecord<'_>: "open";
    record::GrainRecord<'_>: "list", "get --document";
    documents::DocumentRecord<'_>: "list --documents";
    grains::CountRecord<'_>: "list --count";
    grains::RetractionRecord<'_>: "retract";
    pin::PinRecord<'_>: "pin", "unpin";
    share::ShareRecord<'_>: "share";
    many::Record: "retract", "share";
    many::FirstRecord<'_>: "retract", "share";
    forget::ForgetRecord: "forget";
    authors::AuthorRecord<'_>: "authors list", "authors show";
    authors::RuleRecord<'_>: "authors follow", "authors block", "authors clear";
    emergence::ExplainedRecord<'_>: "emergence";
    emergence::ScoredRecord<'_>: "emergence top", "emergence new";
    emergence::AuthorRecord<'_>: "emergence authors";
    emergence::DigestRecord<'_>: "digest";
    status::StatusRecord<'_>: "status";
    health::HealthRecord: "health";
    status::IdRecord<'_>: "id";
    peers::PeerRecord<'_>: "peers";
    peers::KnownRecord<'_>: "peers --known";
    peers::BannedRecord<'_>: "peers --banned";
    peers::DoneRecord<'_>: "peers add", "peers remove", "peers ban", "peers unban";
    topics::TopicRecord<'_>: "topics";
    topics::ChangedRecord<'_>: "topics join", "topics leave";
    topics::PolicyRecord<'_>: "topics policy";
    sync::SyncRecord<'_>: "sync";
    net::NetRecord<'_>: "net status";
    models::ModelRecord<'_>: "models list", "models show";
    models::DoneRecord<'_>: "models use", "models add", "models fetch", "models remove", "models drop";
    models::FetchRecord<'_>: "models fetch";
    models::bench::TrialRecord<'_>: "models bench";
    token::TokenRecord<'_>: "token create", "token list";
    token::RevokedRecord<'_>: "token revoke";
    log::LogRecord<'_>: "log";
    watch::WatchRecord<'_>: "watch";
    maintenance::VerifyRecord<'_>: "verify";
    maintenance::CompactRecord: "compact";
    backup::BackupSummary<'_>: "backup";
    backup::VerifiedBackup<'_>: "backup verify";
    backup::RestoredRecord<'_>: "restore";
    record::ExportRecord<'_>: "export";
    transfer::ExportSummary<'_>: "export";
    transfer::ImportEvent<'_>: "import";
    SettingRecord<'_>: "config show";
}

/// The commands that print records, in the order of the table.
fn commands() -> Vec<&'static str> {
    let mut commands: Vec<&'static str> = Vec::new();
    for command in KINDS.iter().flat_map(|kind| kind.commands) {
        if !commands.contains(command) {
            commands.push(command);
        }
    }
    commands
}

/// The schemas of the records of a command.
fn records_of(command: &str) -> Vec<Value> {
    let settings =
        SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.inline_subschemas = true);
    let kinds = KINDS.iter().filter(|kind| kind.commands.contains(&command));
    kinds.map(|kind| (kind.schema)(&mut settings.clone().into_generator()).to_value()).collect()
}

/// What one line of a command's output is.
fn schema_of(command: &str) -> Value {
    let mut records = records_of(command);
    let mut schema = match records.len() {
        1 => records.remove(0),
        _ => json!({"anyOf": records}),
    };
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = match command {
        ERROR => "any command of synapsenet that fails, with --json".into(),
        _ => format!("synapsenet {command} --json").into(),
    };
    schema
}

/// A command as it is named here: what begins with dashes would be an option of this one.
fn plain(command: &str) -> String {
    command.replace("--", "")
}

/// Runs `schema`.
pub(crate) fn run(args: &SchemaArgs, context: &mut Context) -> Result<Exit, Failure> {
    let (wanted, commands) = (args.command.join(" "), commands());
    let found = commands.iter().find(|name| plain(name) == wanted);
    let schema = match (wanted.as_str(), found) {
        ("", _) => {
            let all = commands.iter().map(|&name| (name.to_owned(), schema_of(name)));
            Value::Object(all.collect::<Map<_, _>>())
        }
        (_, Some(name)) => schema_of(name),
        (name, None) => {
            let known = commands.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ");
            return Err(Failure::usage(
                format!("no command {name:?} prints records"),
                format!("name one of these: {known}"),
            ));
        }
    };
    context.out.line(format_args!("{schema:#}"))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;

    /// What the page says before the commands.
    const BEGINNING: &str = "\
# What commands print with `--json`

Each line on standard output is one record: a JSON object. `synapsenet schema` prints this page as JSON Schema, and
`synapsenet schema COMMAND` that of one command, an option of it without its dashes: `schema list count`. Both are made of the types that are printed, and a test keeps them equal.

The fields are stable: a name keeps its meaning and its type. New fields and new records may come, so pass over what you do not
know. A field that may be missing is marked `?`; one that may be null says so. Records of commands that show how far they are, and
the summary of `search`, go to standard error, so that standard output has the results alone. A command that fails says so on
standard error, in a record as under `error`, and by its exit code.
";

    /// The type of a field in words.
    fn kind(schema: &Value) -> String {
        let named = |value: &Value| match value {
            Value::String(name) => name.clone(),
            _ => "any".to_owned(),
        };
        if let Some(other) = schema.get("anyOf").and_then(Value::as_array) {
            return other.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
        let one = |name: &str| match (name, schema.get("items")) {
            ("array", Some(items)) => format!("array of {}", kind(items)),
            (name, _) => name.to_owned(),
        };
        match schema.get("type") {
            Some(Value::Array(names)) => {
                names.iter().map(|name| one(&named(name))).collect::<Vec<_>>().join(" or ")
            }
            Some(name) => one(&named(name)),
            None if schema.get("const").is_some() => "string".to_owned(),
            None => "any".to_owned(),
        }
    }

    /// The objects that a schema lets through: one, or one of several.
    fn objects(schema: &Value) -> Vec<&Value> {
        for list in ["anyOf", "oneOf"] {
            // With properties of its own, what it lists are only the rest of each.
            if let Some(some) = schema.get(list).and_then(Value::as_array) {
                return some.iter().flat_map(objects).collect();
            }
        }
        vec![schema]
    }

    /// A row for each field, and for those of what it holds.
    fn rows(schema: &Value, before: &str, page: &mut String) {
        let required: BTreeSet<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let Some(fields) = schema["properties"].as_object() else { return };
        for (name, field) in fields {
            let missing = if required.contains(name.as_str()) { "" } else { "?" };
            let words = field.get("description").and_then(Value::as_str).unwrap_or_default();
            let words = match field.get("const") {
                Some(value) => format!("{value}"),
                None => words.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|"),
            };
            writeln!(page, "| `{before}{name}`{missing} | {} | {words} |", kind(field)).unwrap();
            for (inner, mark) in inside(field) {
                rows(inner, &format!("{before}{name}{mark}."), page);
            }
        }
    }

    /// The objects that a field holds, and how that is written.
    fn inside(field: &Value) -> Vec<(&Value, &'static str)> {
        let some = field.get("anyOf").and_then(Value::as_array).map(|some| some.iter().collect());
        let schemas: Vec<&Value> = some.unwrap_or_else(|| vec![field]);
        let objects = schemas.into_iter().map(|schema| match schema.get("items") {
            Some(items) => (items, "[]"),
            None => (schema, ""),
        });
        objects.filter(|(schema, _)| schema.get("properties").is_some()).collect()
    }

    fn page() -> String {
        let mut page = BEGINNING.to_owned();
        for command in commands() {
            let name = if command == ERROR { "error".to_owned() } else { format!("synapsenet {command}") };
            writeln!(page, "\n## {name}").unwrap();
            for record in records_of(command) {
                let words = record.get("description").and_then(Value::as_str).unwrap_or_default();
                writeln!(page, "\n{}", words.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap();
                let shared = record.get("properties").is_some() && objects(&record).len() > 1;
                if shared {
                    page.push_str("\n| field | type | meaning |\n|---|---|---|\n");
                    rows(&record, "", &mut page);
                    page.push_str("\nand one of these:\n");
                }
                for object in objects(&record) {
                    page.push_str("\n| field | type | meaning |\n|---|---|---|\n");
                    rows(object, "", &mut page);
                }
            }
        }
        page
    }

    #[test]
    fn the_page_is_that_of_what_is_printed() {
        let (path, made) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("JSON.md"), page());
        if std::env::var_os("REWRITE").is_some() {
            std::fs::write(path, &made).unwrap();
            return;
        }
        let there = std::fs::read_to_string(path).unwrap();
        assert!(
            there == made,
            "node/JSON.md is another: REWRITE=1 cargo test --lib the_page_is_that makes it anew"
        );
    }

    #[test]
    fn each_command_of_the_table_is_one_and_each_that_prints_is_in_it() {
        let cli = super::super::Cli::command();
        let mut in_table = BTreeSet::new();
        for name in commands().into_iter().filter(|name| *name != ERROR) {
            let words: Vec<&str> = name.split(' ').filter(|word| !word.starts_with("--")).collect();
            let mut command = &cli;
            for word in &words {
                command = command.find_subcommand(word).unwrap_or_else(|| panic!("there is no {name}"));
            }
            in_table.insert(words[0].to_owned());
        }
        // These speak to agents, to shells and to people.
        let silent = ["mcp", "completions", "man", "schema", "help"];
        for command in cli.get_subcommands().filter(|command| !silent.contains(&command.get_name())) {
            assert!(in_table.contains(command.get_name()), "{} prints nothing?", command.get_name());
        }
    }

    #[test]
    fn a_record_fits_its_schema() {
        let hit = synapsenet_proto::rpc::Hit {
            grain: Some(record::tests::grain()),
            ..synapsenet_proto::rpc::Hit::default()
        };
        let printed = serde_json::to_value(record::HitRecord::new(&hit).unwrap()).unwrap();
        let schema = &records_of("search")[0];
        let fields = schema["properties"].as_object().unwrap();
        for name in printed.as_object().unwrap().keys() {
            assert!(fields.contains_key(name), "{name}");
        }
        for name in schema["required"].as_array().unwrap() {
            assert!(printed.get(name.as_str().unwrap()).is_some(), "{name}");
        }
        assert!(!schema["required"].as_array().unwrap().contains(&json!("vector")), "it is told on request");
    }
}
