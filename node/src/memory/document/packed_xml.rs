//! XML as it comes: what begins, what ends, and the text between.

use std::borrow::Cow;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, escape};

use super::read::{Clock, ReadError};

/// Events between two looks at the clock.
const STEP: usize = 1024;

/// What comes next. Names are without their namespaces.
pub(super) enum Node<'a> {
    Start(&'a str, &'a BytesStart<'a>),
    End(&'a str),
    Text(&'a str),
}

/// Hands out what stands in a part, one after the other. What is damaged ends it: what came before was read.
///
/// # Errors
/// [`ReadError::TooSlow`], or what `take` says.
pub(super) fn walk(
    xml: &str,
    clock: &Clock,
    mut take: impl FnMut(Node<'_>) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_end_names = false;
    for step in 0_usize.. {
        if step % STEP == 0 {
            clock.check()?;
        }
        match reader.read_event() {
            Ok(Event::Start(start)) => take(Node::Start(start.local_name().into_inner(), &start))?,
            Ok(Event::Empty(start)) => {
                let name = start.local_name().into_inner();
                take(Node::Start(name, &start))?;
                take(Node::End(name))?;
            }
            Ok(Event::End(end)) => take(Node::End(end.local_name().into_inner()))?,
            Ok(Event::Text(text)) => take(Node::Text(&text.into_inner()))?,
            Ok(Event::CData(text)) => take(Node::Text(&text.into_inner()))?,
            // "&amp;" and alike, apart from the text around them.
            Ok(Event::GeneralRef(name)) => {
                let reference = format!("&{};", name.into_inner());
                take(Node::Text(&escape::unescape(&reference).unwrap_or(Cow::Borrowed(&reference))))?;
            }
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    Ok(())
}

/// An attribute by its name, without the namespaces of both.
pub(super) fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = start
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|one| one.key.local_name().into_inner() == name)?;
    Some(escape::unescape(&found.value).map_or_else(|_| found.value.to_string(), Cow::into_owned))
}
