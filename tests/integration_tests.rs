//! Whole nodes under test: `cargo test --test integration_tests`.
//!
//! | question | module |
//! |---|---|
//! | Is what was said found by its meaning, and does it stay? | `memory` |
//! | Is what was withdrawn gone, and can only its author withdraw it? | `retractions` |
//! | Are documents split, updated and read as what they are? | `documents` |
//! | Does a document that nobody waits for keep its turn until it has been read? | `turns` |
//! | Does what is known of a remembered folder follow its files? | `sources` |
//! | Do lists and filters give exactly what they should? | `lists` |
//! | What can be asked beside a question in words? | `asking` |
//! | What becomes of many items at once, good and bad? | `bulk` |
//! | Is what a program writes found, replaced and told, also after a restart? | `writing` |
//! | Are many grains withdrawn or shared at once, and only those that are meant? | `many` |
//! | What does a grain add to what is known, and who is told? | `emergence` |
//! | What is a wrong or excessive request told? | `requests` |
//! | What does each call say to an empty request, and to garbage? | `schema` |
//! | Is each metric recorded where it happens? | `metrics` |
//! | Do traces tell where the time of a call goes, and nothing else? | `traces` |
//! | Who is let in, and by which door? | `access` |
//! | What may the holder of a token do, see and change, and for how long? | `access_tokens` |
//! | What may those cost who may do little? | `access_bounds` |
//! | Is a node reached from elsewhere by a token and a fingerprint, and does it say what it does? | `access_settings` |
//! | Do real processes start, stop and die without losing anything? | `processes` |
//! | Does a part that fails stop the node, and say what it was? | `supervision` |
//! | What if the disk, the index, the model or the library is not as it should be? | `damage` |
//! | Does a store that an earlier version left open as a whole? | `formats` |
//! | Which models are there, and is nothing lost or mixed when they change? | `models` |
//! | Do the commands, the configuration and the hub decide about models as they should? | `model_commands` |
//! | Are the calls the same as JSON over HTTP, with the same rights? | `json` |
//! | Is an agent given what it may have, and is what others wrote marked? | `mcp` |
//! | Is a backup the whole node, and of one moment? | `backup` |
//! | Does the command line say and do what scripts rely on? | `commands`, `transfer` |
//! | Do grains spread, do questions reach others, does what is private stay? | `mesh` |
//! | Do all nodes end with the same grains, whatever happens to nodes and lines? | `convergence` |
//! | Do the commands of the mesh say and do what scripts rely on? | `mesh_commands` |
//! | What do hostile peers cost? | `hostile` |
//! | Do the crates keep to the arrows of the design? | `architecture` |
//! | Does the page for other implementers say what the program does? | `protocol` |
//! | Do the pages lead somewhere, and do they name what there is? | `pages` |
//!
//! Nodes run in this process wherever that is enough; `harness` starts them. Nothing sleeps: tests wait for conditions.

#[cfg(test)]
mod integration {
    mod access;
    mod access_bounds;
    mod access_settings;
    mod access_tokens;
    mod architecture;
    mod asking;
    mod authors;
    mod backup;
    mod bulk;
    mod commands;
    mod convergence;
    mod damage;
    mod documents;
    mod emergence;
    mod formats;
    mod harness;
    mod hostile;
    mod json;
    mod lists;
    mod many;
    mod mcp;
    mod memory;
    mod mesh;
    mod mesh_commands;
    mod metrics;
    mod model_commands;
    mod models;
    mod pages;
    mod processes;
    mod protocol;
    mod requests;
    mod retractions;
    mod schema;
    mod sources;
    mod supervision;
    mod traces;
    mod transfer;
    mod turns;
    mod variants;
    mod writing;
}
