//! Texts with the vectors that the published weights of a space give them: what every variant of it has to give when it is
//! loaded, within what it promises. So a runtime that computes wrongly is found out as well.

use serde::Deserialize;

/// Texts and vectors, as the file holds them.
#[derive(Debug, Deserialize)]
pub(crate) struct Reference {
    pub(crate) texts: Vec<ReferenceText>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ReferenceText {
    pub(crate) text: String,
    pub(crate) vector: Vec<f32>,
}

impl Reference {
    /// Reads the JSON of a file: an object with `texts`, each with `text` and `vector`. What else is in it is passed over.
    pub(crate) fn read(json: &[u8], dimension: usize) -> Result<Self, String> {
        let reference: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if reference.texts.is_empty() {
            return Err("it holds no text".to_owned());
        }
        match reference.texts.iter().find(|text| text.vector.len() != dimension) {
            None => Ok(reference),
            Some(wrong) => Err(format!(
                "a vector in it has {} components, but the model says {dimension}",
                wrong.vector.len()
            )),
        }
    }
}
