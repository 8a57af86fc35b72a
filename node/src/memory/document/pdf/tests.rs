use std::ffi::OsString;
use std::time::Duration;

use super::super::child::tests::fake;
use super::*;

/// A PDF of pages, each of lines.
fn pdf(title: &str, pages: &[&[&str]]) -> Vec<u8> {
    let kids: Vec<String> = (0..pages.len()).map(|page| format!("{} 0 R", 5 + 2 * page)).collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!("<< /Type /Pages /Kids [{}] /Count {} >>", kids.join(" "), pages.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
        format!("<< /Title ({title}) >>"),
    ];
    for (page, lines) in pages.iter().enumerate() {
        let content = 6 + 2 * page;
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents {content} 0 R >>"
        ));
        let lines: String = lines.iter().map(|line| format!("({line}) Tj T* ")).collect();
        let stream = format!("BT /F1 12 Tf 72 720 Td 14 TL {lines}ET");
        objects.push(format!("<< /Length {} >>\nstream\n{stream}\nendstream", stream.len()));
    }
    let mut pdf = "%PDF-1.4\n".to_owned();
    let mut places = Vec::new();
    for (object, number) in objects.iter().zip(1..) {
        places.push(format!("{:010} 00000 n \n", pdf.len()));
        pdf += &format!("{number} 0 obj\n{object}\nendobj\n");
    }
    let (table, size) = (pdf.len(), objects.len() + 1);
    pdf += &format!("xref\n0 {size}\n0000000000 65535 f \n{}", places.concat());
    pdf += &format!("trailer << /Size {size} /Root 1 0 R /Info 4 0 R >>\nstartxref\n{table}\n%%EOF\n");
    pdf.into_bytes()
}

fn clock() -> Clock {
    Clock::start(Duration::from_secs(120))
}

/// The path of this process, where Poppler is on it; where everything is to be tested, it has to be.
fn poppler() -> Option<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|dir| dir.join(PROGRAM[0]).exists());
    assert!(
        is_there || std::env::var_os("SKIP_NO_TEST").is_none(),
        "no pdftotext: apt-get install poppler-utils"
    );
    if !is_there {
        println!("skipped: there is no pdftotext here");
    }
    is_there.then_some(path)
}

#[test]
fn each_page_is_a_section_of_its_number_and_those_without_text_are_named() {
    let Some(path) = poppler() else { return };
    let pages: [&[&str]; 5] = [
        &["The pump stands in the north cor-", "ner of the cellar."],
        &[],
        &[],
        &["Garden </pre> & more"],
        &[],
    ];
    let reading = read_pdf(&pdf("Pumps &amp; <pipes>", &pages), &path, &clock()).unwrap();
    assert_eq!(reading.title, "Pumps &amp; <pipes>");
    let sections: Vec<_> =
        reading.sections.iter().map(|section| (section.headings.join(" > "), section.text.trim())).collect();
    let expected = [
        ("page 1", "The pump stands in the north corner of the cellar."),
        ("page 4", "Garden </pre> & more"),
    ];
    let expected: Vec<_> = expected.iter().map(|(heading, text)| ((*heading).to_owned(), *text)).collect();
    assert_eq!(sections, expected);
    let left_out = reading.left_out.into_list();
    assert_eq!(left_out.len(), 1);
    assert_eq!(left_out[0].what, "pages 2-3, 5");
    assert!(left_out[0].reason.contains("without text"));
}

#[test]
fn a_pdf_of_one_page_has_no_heading_and_a_scanned_one_no_text() {
    let Some(path) = poppler() else { return };
    let reading = read_pdf(&pdf("untitled", &[&["One."]]), &path, &clock()).unwrap();
    assert_eq!((reading.title.as_str(), reading.sections[0].headings.len()), ("", 0));
    let reading = read_pdf(&pdf("Scan", &[&[], &[]]), &path, &clock()).unwrap();
    assert!(reading.sections.is_empty());
    assert_eq!(reading.left_out.into_list()[0].what, "all of its 2 pages");
}

#[test]
fn what_is_no_pdf_or_half_of_one_is_refused_with_a_reason() {
    let Some(path) = poppler() else { return };
    let whole = pdf("Half", &[&["A page."]]);
    for bytes in [b"hello".as_slice(), b"", &whole[..40]] {
        let error = read_pdf(bytes, &path, &clock()).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
    }
}

#[test]
fn a_locked_one_says_so() {
    let (_dir, path) =
        fake(PROGRAM[0], "cat >/dev/null; echo 'Command Line Error: Incorrect password' >&2; exit 1");
    let error = read_pdf(b"%PDF", &path, &clock()).unwrap_err().to_string();
    assert!(error.contains("password") && error.contains("qpdf"), "{error}");
    let (_dir, path) =
        fake(PROGRAM[0], "echo 'Error: Copying of text from this document is not allowed.' >&2; exit 3");
    let error = read_pdf(b"%PDF", &path, &clock()).unwrap_err().to_string();
    assert!(error.contains("not allow"), "{error}");
}

#[test]
fn without_the_program_it_is_said_how_to_get_it() {
    let dir = tempfile::tempdir().unwrap();
    let error = read_pdf(b"%PDF", dir.path().as_os_str(), &clock()).unwrap_err();
    assert!(matches!(error, ReadError::NoReader(_)), "{error}");
    assert!(error.to_string().contains("apt-get install poppler-utils"), "{error}");
}

#[test]
fn a_program_that_sleeps_floods_dies_or_speaks_otherwise_is_an_error() {
    let by = |script: &str, limit| {
        let (_dir, path) = fake(PROGRAM[0], script);
        read_pdf(b"%PDF", &path, &Clock::start(Duration::from_secs(limit))).unwrap_err()
    };
    assert!(matches!(by("exec sleep 1000", 1), ReadError::TooSlow));
    assert!(matches!(by("exec yes", 120), ReadError::TooLong(_)));
    assert!(matches!(by("kill -9 $$", 120), ReadError::Broken(_)));
    assert!(matches!(by("echo text", 120), ReadError::Broken(_)));
}

#[test]
fn pages_are_named_by_their_runs_and_counted_when_there_are_many() {
    assert_eq!(name_pages(&[3], 9), "page 3");
    assert_eq!(name_pages(&[1, 2, 3, 7, 9], 9), "pages 1-3, 7, 9");
    assert_eq!(name_pages(&[1], 1), "its page");
    let every_second: Vec<usize> = (0..100).map(|number| 2 * number).collect();
    assert_eq!(name_pages(&every_second, 200), "100 of its 200 pages");
}
