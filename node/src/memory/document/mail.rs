//! What does a mail say? Its subject is the title; who wrote it to whom and when stands above its text, which is decoded. Attached texts
//! are sections below their names; any other attachment is named among what is left out. A mailbox is one document with a section for
//! each mail.

use std::sync::Arc;

use mail_parser::mailbox::mbox::MessageIterator;
use mail_parser::{Address, Message, MessageParser, MessagePart, MimeHeaders, PartType};
use synapsenet_index::Section;

use super::format::Format;
use super::read::{Clock, ReadError, Reading, prepend, read_text, read_within};

/// Mails that are attached to each other. What is deeper is named.
const MAX_DEPTH: usize = 4;

/// Reads one mail.
///
/// # Errors
/// [`ReadError`]; [`ReadError::Broken`] where it is no mail.
pub(super) fn read_mail(bytes: &[u8], clock: &Clock) -> Result<Reading, ReadError> {
    let mail = MessageParser::default().parse(bytes).filter(|mail| !mail.headers().is_empty());
    let mail = mail.ok_or(ReadError::Broken("it is no mail"))?;
    read_message(&mail, clock, MAX_DEPTH)
}

/// Reads all mails of a mailbox (RFC 4155).
///
/// # Errors
/// [`ReadError`]; [`ReadError::Broken`] where there is no mail in it.
pub(super) fn read_mailbox(bytes: &[u8], clock: &Clock) -> Result<Reading, ReadError> {
    let mut whole = Reading::default();
    let mut mails = 0;
    for message in MessageIterator::new(bytes) {
        clock.check()?;
        let Ok(message) = message else { break };
        if let Some(mail) = MessageParser::default().parse(message.contents()) {
            let reading = read_message(&mail, clock, MAX_DEPTH)?;
            mails += 1;
            whole.add_below(&reading.title.clone(), reading);
        }
    }
    if mails == 0 && !bytes.is_empty() {
        return Err(ReadError::Broken("it is no mailbox"));
    }
    Ok(whole)
}

fn read_message(mail: &Message<'_>, clock: &Clock, depth: usize) -> Result<Reading, ReadError> {
    let mut whole =
        Reading { title: mail.subject().unwrap_or_default().trim().to_owned(), ..Reading::default() };
    for &id in &mail.text_body {
        clock.check()?;
        let Some(part) = mail.part(id) else { continue };
        // A part may be both what is shown and attached.
        match &part.body {
            PartType::Html(page) => whole.add(read_text(page.to_string(), Format::Html, clock)?),
            PartType::Text(text) => whole.add(read_text(text.to_string(), Format::Plain, clock)?),
            _ => {}
        }
    }
    // What a page within a mail calls itself is nothing that a person sees.
    let lines = heads(mail);
    match whole.sections.is_empty() {
        true => {
            whole.sections.push(Section { headings: Vec::new(), text: lines.join("\n"), headers: Vec::new() })
        }
        false => prepend(&mut whole.sections, &lines),
    }
    for &id in mail.attachments.iter().filter(|id| !mail.text_body.contains(id)) {
        clock.check()?;
        if let Some(part) = mail.part(id) {
            read_attachment(part, clock, depth, &mut whole)?;
        }
    }
    Ok(whole)
}

/// From, to and when, a line each.
fn heads(mail: &Message<'_>) -> Vec<String> {
    let of = |name: &str, people: Option<&Address<'_>>| {
        people.map(people_in).filter(|people| !people.is_empty()).map(|people| format!("{name}: {people}"))
    };
    let date = mail.date().map(|date| format!("Date: {}", date.to_rfc822()));
    [of("From", mail.from()), of("To", mail.to()), of("Cc", mail.cc()), date].into_iter().flatten().collect()
}

fn people_in(address: &Address<'_>) -> String {
    let person = |person: &mail_parser::Addr<'_>| match (&person.name, &person.address) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (Some(one), None) | (None, Some(one)) => one.to_string(),
        (None, None) => String::new(),
    };
    address.iter().map(person).filter(|person| !person.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Adds the text of an attachment below its name, or names it.
fn read_attachment(
    part: &MessagePart<'_>,
    clock: &Clock,
    depth: usize,
    whole: &mut Reading,
) -> Result<(), ReadError> {
    let name = part.attachment_name().unwrap_or_default().to_owned();
    let kind = part.content_type().map_or_else(
        || "attachment".to_owned(),
        |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("?")),
    );
    let called = if name.is_empty() { kind } else { name.clone() };
    let reading = match &part.body {
        PartType::Text(text) => {
            let format =
                if Format::of_name(&name).is_text() { Format::of_name(&name) } else { Format::Plain };
            read_text(text.to_string(), format, clock)
        }
        PartType::Html(page) => read_text(page.to_string(), Format::Html, clock),
        PartType::Message(mail) if depth > 0 => read_message(mail, clock, depth - 1),
        PartType::Binary(bytes) | PartType::InlineBinary(bytes) if Format::is_named(&name) => {
            match Format::of_name(&name) {
                Format::Mail | Format::Mailbox if depth == 0 => Err(ReadError::Broken("it nests too deep")),
                Format::Mailbox => Err(ReadError::Broken("a mailbox within a mail is not read")),
                Format::Mail => MessageParser::default()
                    .parse(bytes.as_ref())
                    .ok_or(ReadError::Broken("it is no mail"))
                    .and_then(|mail| read_message(&mail, clock, depth - 1)),
                format => read_within(bytes, format, "", clock),
            }
        }
        PartType::Multipart(_) => return Ok(()),
        _ => Err(ReadError::Broken("it is no text")),
    };
    match reading {
        Ok(reading) => whole.add_below(&called, reading),
        Err(ReadError::TooSlow) => return Err(ReadError::TooSlow),
        Err(error) => {
            let reason = match error {
                ReadError::NoReader(reason) => reason,
                _ => "an attachment that is no text",
            };
            whole.left_out.add(format!("the attachment {called}"), reason);
        }
    }
    Ok(())
}

impl Reading {
    /// Adds a part.
    fn add(&mut self, part: Self) {
        self.sections.extend(part.sections);
        self.left_out.extend(part.left_out);
    }

    /// Adds a part below a heading.
    fn add_below(&mut self, heading: &str, mut part: Self) {
        let heading: Arc<str> =
            heading[..heading.floor_char_boundary(synapsenet_proto::MAX_TITLE_BYTES)].into();
        if !heading.trim().is_empty() {
            part.sections.iter_mut().for_each(|section| section.headings.insert(0, heading.clone()));
        }
        self.add(part);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn clock() -> Clock {
        Clock::start(Duration::from_secs(10))
    }

    fn text(reading: &Reading) -> String {
        let section =
            |section: &Section| format!("{}\n{}\n", section.headings.join(" > "), section.text.trim());
        reading.sections.iter().map(section).collect()
    }

    const BILL: &str = "From: Heating desk <desk@example.org>\r\nTo: home@example.org\r\nDate: Thu, 2 Jan 2025 10:00:00 +0100\r\n\
        Subject: =?utf-8?Q?Rechnung_f=C3=BCr_die_Heizung?=\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=xx\r\n\r\n--xx\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\nThe invoice for the yearly main=\r\ntenance, 212 =E2=82=AC.\r\n\r\n\
        --xx\r\nContent-Type: text/markdown; name=notes.md\r\nContent-Disposition: attachment; filename=notes.md\r\n\r\n\
        # Notes\r\n\r\nThe *valve*.\r\n--xx\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=bill.pdf\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQKJcfsj6IKNSAwIG9iago8PC9MZW5ndGgg\r\n--xx--\r\n";

    #[test]
    fn a_mail_is_its_subject_who_wrote_it_and_its_decoded_text() {
        let reading = read_mail(BILL.as_bytes(), &clock()).unwrap();
        assert_eq!(reading.title, "Rechnung für die Heizung");
        let text = text(&reading);
        for words in [
            "From: Heating desk <desk@example.org>",
            "To: home@example.org",
            "Date: Thu, 2 Jan 2025",
            "The invoice for the yearly maintenance, 212 €.",
            "notes.md > Notes\nThe valve.",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("JVBE"));
        let left_out = reading.left_out.into_list();
        assert!(left_out.len() == 1 && left_out[0].what.contains("bill.pdf"), "{left_out:?}");
    }

    #[test]
    fn a_mail_that_is_a_page_is_read_as_one() {
        let mail = "From: a@example.org\nSubject: Sale\nContent-Type: text/html; charset=iso-8859-1\n\
                    Content-Transfer-Encoding: 8bit\n\n<html><body><table><tr><td>Gr\u{fc}n<td>3</table></body></html>\n";
        let latin1: Vec<u8> = mail.chars().map(|c| c as u8).collect();
        let text = text(&read_mail(&latin1, &clock()).unwrap());
        assert!(text.contains("Grün | 3") && !text.contains("<td>"), "{text}");
    }

    #[test]
    fn a_mailbox_has_a_section_for_each_mail() {
        let mailbox = "From a@example.org Thu Jan  2 10:00:00 2025\nFrom: a@example.org\nSubject: One\n\nFirst.\n\n\
                       From b@example.org Thu Jan  2 11:00:00 2025\nFrom: b@example.org\nSubject: Two\n\nSecond.\n";
        let text = text(&read_mailbox(mailbox.as_bytes(), &clock()).unwrap());
        let places = ["One\nFrom: a@", "First.", "Two\nFrom: b@", "Second."].map(|words| text.find(words));
        assert!(places.is_sorted() && places[0].is_some(), "{text}");
        assert!(read_mailbox(b"no mail at all", &clock()).is_err());
    }
}
