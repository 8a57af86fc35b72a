//! Which notes does a grain lead to, and which lead to it? Told to whoever owns the node alone: what a link names may be a path, and
//! so it is in nothing that is signed.

use synapsenet_proto::AuthorId;
use synapsenet_storage::{Record, View};

use crate::calls::{Call, CallError};
use crate::memory::places::Places;
use crate::sources::NoteLink;

/// A note at the other end of a link: the part of it that is meant, or the first.
#[derive(Debug)]
pub(crate) struct Linked {
    pub record: Record,
    /// What the link shows.
    pub shown: String,
}

/// The links of a grain.
#[derive(Debug, Default)]
pub(crate) struct GrainLinks {
    /// Notes that it leads to.
    pub to: Vec<Linked>,
    /// Notes that lead to its document.
    pub from: Vec<Linked>,
}

impl Call {
    /// The links between a grain and others of the folder that its file lies in; none where no folder is kept that it lies in.
    pub(super) async fn links_of(&self, record: &Record) -> Result<GrainLinks, CallError> {
        // Which files link to each other is told of all topics or of none.
        if self.topics_of_caller().is_limited() {
            return Ok(GrainLinks::default());
        }
        let Some(uri) = self.file_of(&record.grain, record.moved_to.as_deref()) else {
            return Ok(GrainLinks::default());
        };
        let links = self.parts.sources.links_of(uri).await;
        if links.to.is_empty() && links.from.is_empty() {
            return Ok(GrainLinks::default());
        }
        let (parts, this) = (self.parts.clone(), record.grain.clone());
        self.read(move |_, view| {
            let author = parts.identity.author();
            // Those that stand in this part of the document.
            let draft = &this.body().draft;
            let stands_here = |link: &&NoteLink| {
                let shown = &link.link.shown;
                draft.text.contains(shown) || draft.title.contains(shown)
            };
            let mut links = GrainLinks {
                to: ends(view, &parts.places, author, links.to.iter().filter(stands_here), leads_there)?,
                from: ends(view, &parts.places, author, links.from.iter(), comes_from_there)?,
            };
            links.to.retain(|linked| linked.record.grain.id() != this.id());
            Ok(links)
        })
        .await
    }
}

/// Whether a part of a document is what a link means.
fn leads_there(record: &Record, link: &NoteLink) -> bool {
    let at = link.link.at.trim_start_matches('^');
    // `[[note#Above#Heading]]` says the headings above, too.
    let heading = at.rsplit('#').next().unwrap_or(at);
    heading.is_empty() || record.grain.body().draft.title.rsplit(" > ").any(|title| title == heading)
}

/// Whether a link stands in a part of a document.
fn comes_from_there(record: &Record, link: &NoteLink) -> bool {
    record.grain.text().contains(&link.link.shown)
}

/// The grains at the other ends.
fn ends<'a>(
    view: &View,
    places: &Places,
    author: AuthorId,
    links: impl Iterator<Item = &'a NoteLink>,
    is_meant: impl Fn(&Record, &NoteLink) -> bool,
) -> Result<Vec<Linked>, CallError> {
    let mut ends: Vec<Linked> = Vec::new();
    for link in links {
        let mut chunks = view.chunks_of(author, &places.signed(&link.uri))?;
        if chunks.is_empty() {
            continue;
        }
        let meant = chunks.iter().position(|record| is_meant(record, link)).unwrap_or(0);
        let record = chunks.swap_remove(meant);
        if ends.iter().all(|end| end.record.grain.id() != record.grain.id()) {
            ends.push(Linked { record, shown: link.link.shown.clone() });
        }
    }
    Ok(ends)
}
