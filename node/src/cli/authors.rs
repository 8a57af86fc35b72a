//! `authors`: who wrote what is stored here, and whom the owner follows or blocks.

use clap::{Args, Subcommand};
use indicatif::HumanCount;
use schemars::JsonSchema;
use serde::Serialize;
use synapsenet_proto::rpc;

use super::client::{Client, call, connect};
use super::confirm::Consent;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::{FAINT, Output, plural, short_id, table};

/// Authors asked for at once.
const PAGE: u32 = 500;

/// Arguments of `authors`.
#[derive(Debug, Args)]
pub(crate) struct AuthorsArgs {
    #[command(subcommand)]
    command: Option<AuthorsCommand>,
}

#[derive(Debug, Subcommand)]
enum AuthorsCommand {
    /// Show the authors of what is stored, and those that are followed or blocked
    List {
        /// Only those that are followed or blocked
        #[arg(long)]
        rules: bool,
    },
    /// Show one author
    Show(AuthorArg),
    /// Keep what an author says like one's own: it takes no stranger's room and has no budget
    Follow(AuthorArg),
    /// Take nothing of an author any more, and drop what is stored of it
    Block {
        #[command(flatten)]
        author: AuthorArg,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Neither follow nor block an author any more
    Clear(AuthorArg),
}

/// An author.
#[derive(Debug, Args)]
struct AuthorArg {
    /// Key of the author, or at least the first 8 digits of it
    #[arg(value_parser = parse_key, value_name = "KEY")]
    author: String,
}

/// A key or its beginning on the command line.
fn parse_key(text: &str) -> Result<String, String> {
    super::filter::parse_id(text)
        .map_err(|_| "a key is 64 hexadecimal digits, or at least 8 that begin one".to_owned())
}

/// An author, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AuthorRecord<'a> {
    /// Public key.
    author: &'a str,
    /// Of it that are here.
    grains: u64,
    /// `followed` or `blocked`.
    rule: Option<&'static str>,
    /// `own`, `followed` or `stranger`.
    whose: &'static str,
    /// Vectors of it that were compared and right.
    claims_agreed: u32,
    /// Whether one was wrong.
    claims_distrusted: bool,
}

/// A rule that was set, for scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RuleRecord<'a> {
    /// `followed`, `blocked` or `cleared`.
    event: &'static str,
    author: &'a str,
    /// Grains that went.
    dropped: u64,
}

/// Runs `authors`.
pub(crate) async fn run(args: AuthorsArgs, context: &mut Context) -> Result<Exit, Failure> {
    let command = args.command.unwrap_or(AuthorsCommand::List { rules: false });
    let consent = match &command {
        AuthorsCommand::Block { yes, .. } => {
            Some(Consent::of(*yes, "blocking", "what is stored of the author is dropped")?)
        }
        _ => None,
    };
    let mut client = connect(&context.target).await?;
    let out = &mut context.out;
    match command {
        AuthorsCommand::List { rules } => list(&mut client, rules, out).await?,
        AuthorsCommand::Show(of) => {
            let author = find(&mut client, &of.author).await?;
            show(&author, out)?;
        }
        AuthorsCommand::Follow(of) => {
            let author = find(&mut client, &of.author).await?.author;
            set(&mut client, &author, rpc::AuthorRule::Followed, out).await?;
        }
        AuthorsCommand::Clear(of) => {
            let author = find(&mut client, &of.author).await?.author;
            set(&mut client, &author, rpc::AuthorRule::Unspecified, out).await?;
        }
        AuthorsCommand::Block { author: of, .. } => {
            let author = find(&mut client, &of.author).await?;
            if let Some(consent) = consent {
                let about = format!("{}  {}", short_id(&author.author), plural(author.grains, "grain"));
                consent.confirm(&[about], "Take nothing of this author any more, and drop what is here?")?;
            }
            set(&mut client, &author.author, rpc::AuthorRule::Blocked, out).await?;
        }
    }
    Ok(Exit::Done)
}

/// The author that is meant by a key or its beginning. A whole key need not be known here.
pub(super) async fn find(client: &mut Client, key: &str) -> Result<rpc::Author, Failure> {
    let request = rpc::ListAuthorsRequest { prefix: key.to_owned(), page_size: 2, ..Default::default() };
    let mut authors = client.list_authors(call(request)).await?.into_inner().authors;
    match (authors.len(), key.len()) {
        (1, _) => Ok(authors.remove(0)),
        (0, 64) => Ok(rpc::Author {
            author: key.to_owned(),
            whose: rpc::Whose::Stranger.into(),
            ..Default::default()
        }),
        (0, _) => Err(Failure::incomplete(
            format!("no author here begins with {key}"),
            "`synapsenet authors` shows those that there are; the whole key names any",
        )),
        _ => Err(Failure::incomplete(
            format!("more than one author begins with {key}"),
            "give more digits; `synapsenet authors --json` shows whole keys",
        )),
    }
}

async fn list(client: &mut Client, with_rule_only: bool, out: &mut Output) -> Result<(), Failure> {
    let (mut rows, mut page_token) = (Vec::new(), String::new());
    loop {
        let request =
            rpc::ListAuthorsRequest { with_rule_only, page_size: PAGE, page_token, ..Default::default() };
        let page = client.list_authors(call(request)).await?.into_inner();
        for author in page.authors {
            if out.is_json() {
                out.record(&AuthorRecord::new(&author))?;
            } else {
                rows.push(author);
            }
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if out.is_json() {
        return Ok(());
    }
    rows.sort_by_key(|author| std::cmp::Reverse(author.grains));
    let row = |author: &rpc::Author| {
        [
            short_id(&author.author).to_owned(),
            describe(author).to_owned(),
            HumanCount(author.grains).to_string(),
        ]
    };
    table(["AUTHOR", "WHO", "GRAINS HERE"], rows.iter().map(row).collect(), out)?;
    if rows.is_empty() {
        out.note("nobody yet")?;
    }
    Ok(())
}

fn show(author: &rpc::Author, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return out.record(&AuthorRecord::new(author));
    }
    let mut field = |name: &str, value: &str| out.line(format_args!("{FAINT}{name:8}{FAINT:#} {value}"));
    field("author", &author.author)?;
    field("who", describe(author))?;
    field("holds", &plural(author.grains, "grain"))?;
    field(
        "claims",
        &match (author.claims_distrusted, author.claims_agreed) {
            (true, _) => "one was false: none of its vectors is believed".to_owned(),
            (false, agreed) => format!("{} compared here and found right", HumanCount(agreed.into())),
        },
    )
}

fn describe(author: &rpc::Author) -> &'static str {
    match (author.rule(), author.whose()) {
        (rpc::AuthorRule::Blocked, _) => "blocked",
        (_, rpc::Whose::Own) => "this node",
        (rpc::AuthorRule::Followed, _) => "followed",
        _ => "stranger",
    }
}

async fn set(
    client: &mut Client,
    author: &str,
    rule: rpc::AuthorRule,
    out: &mut Output,
) -> Result<(), Failure> {
    let request = rpc::SetAuthorRuleRequest { author: author.to_owned(), rule: rule.into() };
    let dropped = client.set_author_rule(call(request)).await?.into_inner().dropped;
    let event = match rule {
        rpc::AuthorRule::Followed => "followed",
        rpc::AuthorRule::Blocked => "blocked",
        rpc::AuthorRule::Unspecified => "cleared",
    };
    if out.is_json() {
        return out.record(&RuleRecord { event, author, dropped });
    }
    match dropped {
        0 => out.summary(format_args!("{event} {author}")),
        dropped => out.summary(format_args!("{event} {author}; {} dropped", plural(dropped, "grain"))),
    }
}

impl<'a> AuthorRecord<'a> {
    fn new(author: &'a rpc::Author) -> Self {
        Self {
            author: &author.author,
            grains: author.grains,
            rule: match author.rule() {
                rpc::AuthorRule::Unspecified => None,
                rpc::AuthorRule::Followed => Some("followed"),
                rpc::AuthorRule::Blocked => Some("blocked"),
            },
            whose: whose(author.whose()),
            claims_agreed: author.claims_agreed,
            claims_distrusted: author.claims_distrusted,
        }
    }
}

/// Whose something is, for scripts.
pub(super) fn whose(whose: rpc::Whose) -> &'static str {
    match whose {
        rpc::Whose::Own => "own",
        rpc::Whose::Followed => "followed",
        rpc::Whose::Stranger => "stranger",
        rpc::Whose::Unspecified => "unknown",
    }
}
