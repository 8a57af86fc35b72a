use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::list::tests::source;
use super::*;
use crate::memory::places::Places;
use crate::testing::Fixture;

/// A node's library, and a folder that is remembered.
struct Bench {
    node: Fixture,
    places: Arc<Places>,
    sources: Sources,
    folder: PathBuf,
    _dir: TempDir,
}

const NOW: How = How { dry_run: false, withdraw: true };

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (folder, data) = (dir.path().canonicalize().unwrap().join("vault"), dir.path().join("data"));
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(&data).unwrap();
        let node = Fixture::new();
        let places = Arc::new(Places::open(&data, &node.identity));
        let library = Library::new(
            node.memory.clone(),
            node.ingest.clone(),
            node.models(true),
            node.identity.clone(),
            places.clone(),
        );
        let list = List::load(&data).unwrap();
        let sources = Sources::new(list, &data, library, Events::new(), CancellationToken::new());
        let remembered = Source { rhythm: Rhythm::Manual, ..source(folder.to_str().unwrap()) };
        sources.remember(remembered).unwrap();
        Self { node, places, sources, folder, _dir: dir }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    async fn look(&self, how: How) -> Report {
        self.sources.look_at(&self.folder, how, |_| ()).await.unwrap()
    }

    /// Forgets what is known of the files.
    fn lose_state(&self) {
        let source = self.sources.get(&self.folder).unwrap();
        self.sources.inner.states.remove(&source);
    }

    /// What is stored of each file that something is stored of.
    fn stored(&self) -> BTreeMap<String, String> {
        let (view, author) = (self.node.view(), self.node.identity.author());
        let prefix = self.places.signed(&format!("{}/", file_uri(&self.folder)));
        let signed = view.sources_of(author, &prefix).unwrap();
        let text = |uri: &String| {
            let chunks = view.chunks_of(author, uri).unwrap();
            let name = self.places.path_of(uri).unwrap().rsplit('/').next().unwrap().to_owned();
            (name, chunks.iter().map(|chunk| chunk.grain.text()).collect::<Vec<_>>().join("\n"))
        };
        signed.iter().map(text).collect()
    }

    /// Ids of all notes, and how many retractions there are.
    fn ids(&self) -> (Vec<String>, u64) {
        let view = self.node.view();
        let notes = view.notes_after(0, 1000).unwrap();
        let mut ids: Vec<_> =
            notes.iter().map(|(_, record)| record.as_ref().unwrap().grain.id().to_string()).collect();
        ids.sort();
        (ids, view.counts().unwrap().retractions)
    }
}

fn stored(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[tokio::test]
async fn what_is_known_follows_what_the_files_say() {
    let bench = Bench::new();
    bench.write("a.txt", "The boiler wants 1.5 bar.");
    bench.write("sub/b.md", "# Vet\n\nVet on Monday.");
    bench.write("c.txt", "The hose is drained in November.");
    let first = bench.look(NOW).await;
    assert_eq!((first.files, first.added, first.grains_added, first.problem), (3, 3, 3, None));
    let (ids, _) = bench.ids();

    bench.write("a.txt", "The boiler wants 2 bar.");
    fs::rename(bench.folder.join("sub/b.md"), bench.folder.join("vet.md")).unwrap();
    fs::remove_file(bench.folder.join("c.txt")).unwrap();
    let dry = bench.look(How { dry_run: true, withdraw: false }).await;
    assert_eq!((dry.edited, dry.moved, dry.withdrawn, dry.added), (1, 1, 1, 0));
    assert_eq!(bench.ids(), (ids.clone(), 0), "a dry run does nothing");
    let second = bench.look(NOW).await;
    assert_eq!((second.edited, second.moved, second.withdrawn, second.added), (1, 1, 1, 0));
    assert_eq!((second.grains_added, second.grains_retracted), (1, 2));
    let expected = [("a.txt", "The boiler wants 2 bar."), ("vet.md", "Vet on Monday.")];
    assert_eq!(bench.stored(), stored(&expected));
    let (now, retractions) = bench.ids();
    assert_eq!(retractions, 2, "what was renamed was not withdrawn");
    assert_eq!(now.iter().filter(|id| ids.contains(id)).count(), 1);

    // It goes on being one document, and what was renamed is found where it lies.
    bench.write("vet.md", "# Vet\n\nVet on Monday.\n\nBring the passport.");
    bench.look(NOW).await;
    assert!(bench.stored()["vet.md"].contains("passport"), "{:?}", bench.stored());
    fs::write(bench.folder.join("vet.md"), "").unwrap();
    bench.look(NOW).await;
    assert_eq!(bench.stored(), stored(&expected[..1]), "a file that was emptied says nothing");
}

#[tokio::test]
async fn what_is_gone_is_withdrawn_after_a_while_and_never_with_its_disk() {
    let bench = Bench::new();
    bench.write("a.txt", "The boiler wants 1.5 bar.");
    bench.write("b.txt", "Vet on Monday.");
    bench.look(NOW).await;
    fs::remove_file(bench.folder.join("a.txt")).unwrap();
    let soon = bench.look(How::default()).await;
    assert_eq!((soon.missing, soon.withdrawn, bench.stored().len()), (1, 0, 2));
    // A file that comes back was never gone.
    bench.write("a.txt", "The boiler wants 1.5 bar.");
    let back = bench.look(How::default()).await;
    assert_eq!((back.missing, back.unchanged, bench.ids().1), (0, 2, 0));

    // The folder is empty, then not there: as if its disk were not mounted.
    for name in ["a.txt", "b.txt"] {
        fs::remove_file(bench.folder.join(name)).unwrap();
    }
    let empty = bench.look(NOW).await;
    assert!(empty.problem.is_some_and(|problem| problem.contains("mounted")));
    fs::remove_dir(&bench.folder).unwrap();
    let gone = bench.look(NOW).await;
    assert!(gone.problem.is_some_and(|problem| problem.contains("is not there")));
    assert_eq!((bench.stored().len(), bench.ids().1), (2, 0));
}

#[tokio::test]
async fn a_file_that_is_no_text_any_more_keeps_what_it_said_and_says_so() {
    let bench = Bench::new();
    bench.write("a", "The boiler wants 1.5 bar.");
    bench.write("b.eml", "From: a@example.org\nSubject: Vet\n\nOn Monday.\n");
    bench.write("film", "\0\0");
    let first = bench.look(NOW).await;
    assert_eq!((first.added, first.skipped, first.refused), (2, 1, 0));
    bench.write("a", "\0\u{1}\u{2}");
    bench.write("b.eml", "");
    let second = bench.look(NOW).await;
    assert_eq!((second.refused, second.skipped, second.edited), (1, 1, 1), "{second:?}");
    assert!(second.named[0].0.ends_with("/a") && second.named[0].1.contains("is kept"), "{second:?}");
    // As long as it is so, also without being read, and once it was touched.
    for _ in 0..2 {
        let again = bench.look(NOW).await;
        assert_eq!((again.refused, again.named), (1, second.named.clone()));
        bench.write("a", "\0\u{1}\u{2}");
    }
    assert!(bench.stored()["a"].contains("boiler"));
    bench.write("a", "The boiler wants 2 bar.");
    let mended = bench.look(NOW).await;
    assert_eq!((mended.edited, mended.refused), (1, 0));
    assert!(bench.stored()["a"].contains("2 bar"));
}

#[tokio::test]
async fn a_single_file_is_kept_and_never_withdrawn_with_its_disk() {
    let bench = Bench::new();
    let file = bench.folder.with_file_name("archive.mbox");
    let mail =
        |day: &str| format!("From a@example.org Thu Jan  2 10:00:00 2025\nSubject: Vet\n\nOn {day}.\n\n");
    fs::write(&file, mail("Monday")).unwrap();
    // One whose name begins alike is another.
    fs::write(bench.folder.with_file_name("archive.mbox2"), "other").unwrap();
    let remembered = Source { folder: file.clone(), ..bench.sources.get(&bench.folder).unwrap() };
    bench.sources.remember(remembered).unwrap();
    let texts =
        || bench.node.view().notes_after(0, 1000).unwrap().into_iter().filter_map(|(_, record)| record);
    let look = async || bench.sources.look_at(&file, NOW, |_| ()).await.unwrap();
    let first = look().await;
    assert_eq!((first.files, first.added, first.grains_added, first.problem), (1, 1, 1, None));
    fs::write(&file, mail("Monday") + &mail("Friday")).unwrap();
    assert_eq!((look().await.edited, texts().count()), (1, 2));
    // Its state is lost, it is gone, a folder lies in its place: nothing is withdrawn.
    let source = bench.sources.get(&file).unwrap();
    bench.sources.inner.states.remove(&source);
    assert_eq!((look().await.unchanged, texts().count()), (1, 2));
    fs::remove_file(&file).unwrap();
    assert!(look().await.problem.is_some_and(|problem| problem.contains("is not there")));
    fs::create_dir(&file).unwrap();
    fs::write(file.join("a.txt"), "else").unwrap();
    assert!(look().await.problem.is_some_and(|problem| problem.contains("was a file")));
    assert_eq!(texts().count(), 2);
    fs::remove_dir_all(&file).unwrap();
    // What is no text was meant all the same.
    fs::write(&file, "no mail at all").unwrap();
    let broken = look().await;
    assert_eq!((broken.refused, texts().count()), (1, 2), "{broken:?}");
    assert_eq!(bench.sources.remove(&file, true).await.unwrap(), 2);
}

#[tokio::test]
async fn what_a_look_changed_is_told_and_what_it_left_is_not() {
    let bench = Bench::new();
    let mut told = bench.sources.inner.events.listen();
    bench.write("a.txt", "The boiler wants 1.5 bar.");
    bench.look(How { dry_run: true, withdraw: false }).await;
    bench.look(NOW).await;
    bench.look(NOW).await;
    let Ok(Happening::SourceChanged(change)) = told.try_recv() else { panic!("a look changed something") };
    assert_eq!((change.folder, change.added, change.grains_added), (bench.folder.clone(), 1, 1));
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn a_folder_that_takes_long_holds_up_no_other() {
    let bench = Bench::new();
    let other = bench.folder.with_file_name("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("b.txt"), "Vet on Monday.").unwrap();
    let remembered = Source { folder: other.clone(), ..bench.sources.get(&bench.folder).unwrap() };
    bench.sources.remember(remembered).unwrap();
    let slow = bench.sources.alone_with(&bench.folder).await;
    let waiting = bench.sources.look_at(&bench.folder, NOW, |_| ());
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    assert_eq!(bench.sources.look_at(&other, NOW, |_| ()).await.unwrap().added, 1);
    drop(slow);
    bench.write("a.txt", "The boiler wants 1.5 bar.");
    assert_eq!(waiting.await.unwrap().added, 1);
}

#[tokio::test]
async fn a_file_that_was_moved_is_counted_once() {
    let bench = Bench::new();
    bench.write("a.txt", "The boiler wants 1.5 bar.");
    bench.write("b.txt", "Vet on Monday.");
    bench.look(NOW).await;
    fs::rename(bench.folder.join("a.txt"), bench.folder.join("c.txt")).unwrap();
    let report = bench.look(NOW).await;
    assert_eq!((report.files, report.moved, report.unchanged), (2, 1, 1));
}

#[tokio::test]
async fn much_that_is_gone_at_once_is_not_withdrawn_unasked() {
    let bench = Bench::new();
    for n in 0..30 {
        bench.write(&format!("{n}.txt"), &format!("Jar number {n} holds plums."));
    }
    bench.look(NOW).await;
    for n in 0..25 {
        fs::remove_file(bench.folder.join(format!("{n}.txt"))).unwrap();
    }
    // Some other time: the grace is over.
    let source = bench.sources.get(&bench.folder).unwrap();
    bench.look(How::default()).await;
    let mut state = bench.sources.inner.states.load(&source).unwrap();
    for seen in state.files.values_mut().filter(|seen| seen.missing_since_ms.is_some()) {
        seen.missing_since_ms = Some(1);
    }
    bench.sources.inner.states.save(&source, &state).unwrap();
    let report = bench.look(How::default()).await;
    assert_eq!((report.missing, report.withdrawn), (25, 0));
    assert!(
        report.problem.is_some_and(|problem| problem.contains("25 of 30") && problem.contains("--withdraw"))
    );
    let report = bench.look(NOW).await;
    assert_eq!((report.withdrawn, report.problem, bench.stored().len()), (25, None, 5));
}

#[tokio::test]
async fn a_file_that_comes_to_where_a_moved_one_lay_is_another() {
    let bench = Bench::new();
    let text = "# Vet\n\nThe cat goes there on Monday.";
    bench.write("a.md", text);
    bench.write("kept.md", "# Kept\n\nIt stays.");
    bench.look(NOW).await;
    fs::rename(bench.folder.join("a.md"), bench.folder.join("b.md")).unwrap();
    bench.look(NOW).await;
    bench.write("a.md", text);
    bench.look(NOW).await;
    let (said, kept) = ("The cat goes there on Monday.", ("kept.md", "It stays."));
    assert_eq!(bench.stored(), stored(&[("a.md", said), ("b.md", said), kept]));
    bench.write("b.md", &format!("{text}\n\nBring the passport."));
    bench.look(NOW).await;
    fs::remove_file(bench.folder.join("b.md")).unwrap();
    bench.look(NOW).await;
    assert_eq!(bench.stored(), stored(&[("a.md", said), kept]), "what was copied stays");
}

#[tokio::test]
async fn what_is_known_can_be_lost() {
    let bench = Bench::new();
    bench.write("a.txt", "The boiler wants 1.5 bar.");
    bench.write("b.md", "# Vet\n\nVet on Monday.");
    bench.look(NOW).await;
    fs::rename(bench.folder.join("b.md"), bench.folder.join("c.md")).unwrap();
    bench.look(NOW).await;
    let before = bench.ids();
    bench.lose_state();
    fs::remove_file(bench.folder.join("a.txt")).unwrap();
    let report = bench.look(NOW).await;
    assert_eq!((report.unchanged, report.withdrawn, report.added), (1, 1, 0));
    assert_eq!(bench.stored(), stored(&[("c.md", "Vet on Monday.")]));
    assert_eq!(bench.ids().1, before.1 + 1);
}

#[tokio::test]
async fn a_name_is_the_same_in_whichever_form_its_accents_are_written() {
    let bench = Bench::new();
    bench.write("Ku\u{308}che/O\u{308}fen.txt", "The oven heats unevenly.");
    bench.look(NOW).await;
    let before = bench.ids();
    bench.lose_state();
    let report = bench.look(NOW).await;
    assert_eq!((report.unchanged, report.added, report.withdrawn, report.missing), (1, 0, 0, 0));
    assert_eq!(bench.ids(), before);
}

#[tokio::test]
async fn other_terms_hold_for_all_files_and_the_folder_can_be_let_go() {
    let bench = Bench::new();
    bench.write("a.txt", "The boiler wants 1.5 bar.");
    bench.look(NOW).await;
    let mut other = bench.sources.get(&bench.folder).unwrap();
    other.terms.tags = vec!["house".to_owned()];
    bench.sources.remember(other).unwrap();
    let report = bench.look(NOW).await;
    assert_eq!((report.edited, report.grains_added, report.grains_retracted), (1, 1, 1));
    assert_eq!(bench.sources.remove(&bench.folder, false).await.unwrap(), 0);
    assert_eq!((bench.sources.all().len(), bench.stored().len()), (0, 1));
    let error = bench.sources.look_at(&bench.folder, NOW, |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("not remembered"), "{error}");
}

#[tokio::test]
async fn letting_go_can_withdraw_what_was_remembered() {
    let bench = Bench::new();
    bench.write("a.txt", "The boiler wants 1.5 bar.");
    bench.write("b.md", "# Vet\n\nVet on Monday.");
    bench.look(NOW).await;
    fs::rename(bench.folder.join("b.md"), bench.folder.join("c.md")).unwrap();
    bench.look(NOW).await;
    assert_eq!(bench.sources.remove(&bench.folder, true).await.unwrap(), 2);
    assert!(bench.stored().is_empty());
}

#[tokio::test]
async fn a_folder_belongs_to_one_source() {
    let bench = Bench::new();
    let of =
        |folder: &Path| Source { folder: folder.to_owned(), ..bench.sources.get(&bench.folder).unwrap() };
    let refused = |folder: &Path| bench.sources.remember(of(folder)).unwrap_err().to_string();
    assert!(refused(&bench.folder.join("sub")).contains("lies in"));
    assert!(refused(bench.folder.parent().unwrap()).contains("remove that first"));
    let beside = bench.folder.with_file_name("vault2");
    assert_eq!(bench.sources.remember(of(&beside)).unwrap(), None);
    let bad = Source { terms: Terms { exclude: vec!["[a".into()], ..of(&beside).terms }, ..of(&beside) };
    assert!(matches!(bench.sources.remember(bad), Err(SourceError::Refused(_))));
}

/// What people do with files.
#[derive(Debug, Clone)]
enum Op {
    Write(u8, u8),
    Remove(u8),
    Rename(u8, u8),
    Look,
    LoseState,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0u8..5, 0u8..4).prop_map(|(file, text)| Op::Write(file, text)),
        2 => (0u8..5).prop_map(Op::Remove),
        3 => (0u8..5, 0u8..5).prop_map(|(from, to)| Op::Rename(from, to)),
        4 => Just(Op::Look),
        1 => Just(Op::LoseState),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_done_to_the_files_the_node_knows_what_they_say(ops in prop::collection::vec(op(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _in_it = runtime.enter();
        let bench = Bench::new();
        // So that the folder is never empty.
        bench.write("kept.txt", "kept");
        let name = |file: u8| format!("f{file}.txt");
        let mut files = BTreeMap::from([("kept.txt".to_owned(), "kept".to_owned())]);
        for op in ops.into_iter().chain([Op::Look]) {
            match op {
                Op::Write(file, text) => {
                    let text = if text == 0 { String::new() } else { format!("text number {text}") };
                    bench.write(&name(file), &text);
                    files.insert(name(file), text);
                }
                Op::Remove(file) => {
                    let _ = fs::remove_file(bench.folder.join(name(file)));
                    files.remove(&name(file));
                }
                Op::Rename(from, to) => {
                    if let Some(text) = files.remove(&name(from)) {
                        fs::rename(bench.folder.join(name(from)), bench.folder.join(name(to))).unwrap();
                        files.insert(name(to), text);
                    }
                }
                Op::LoseState => bench.lose_state(),
                Op::Look => {
                    let report = runtime.block_on(bench.look(NOW));
                    prop_assert_eq!(report.problem, None);
                    let with_text = files.iter().filter(|(_, text)| !text.is_empty());
                    prop_assert_eq!(bench.stored(), with_text.map(|(n, t)| (n.clone(), t.clone())).collect::<BTreeMap<_, _>>());
                }
            }
        }
    }
}
