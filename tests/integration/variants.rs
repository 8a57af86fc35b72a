//! Variants of a space: what one computed, the other finds, here and on other nodes.

use super::harness::{
    BUILT_IN, TestNode, VARIANTS, config, folder, mesh_config, private_folder, shared, wait_for,
};
use super::metrics::scrape;

const NOTES: [(&str, &str); 6] = [
    ("The key to the cellar hangs behind the kitchen door.", "how do I get into the basement"),
    ("Water the ferns twice a week, and the cactus once a month.", "when do the plants need to drink"),
    ("The router restarts itself on Sunday at four in the morning.", "why is the internet gone at night"),
    ("Grandmother's recipe for plum cake needs a kilogram of plums.", "how much fruit goes into the cake"),
    ("The insurance number of the car is on the green card.", "where is the policy of the vehicle"),
    ("Bleed the radiators before the first frost.", "what is to be done about the heating in autumn"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_one_variant_computed_another_finds_and_nothing_is_embedded_anew() {
    let [w8, row8] = VARIANTS;
    for (first, second) in [(w8, row8), (row8, w8)] {
        let mut by_first = config();
        by_first.ai.model = first.into();
        let node = TestNode::fresh_with(by_first).await;
        for (text, _) in NOTES {
            node.put(text).await;
        }
        node.wait_indexed().await;
        let id = node.status().await.model.unwrap().space_id;
        // Started with the other one, chosen by the name of the space and the variant.
        let mut by_second = config();
        by_second.ai.model = "all-MiniLM-L6-v2".into();
        by_second.ai.variant = second.rsplit('-').next().unwrap().into();
        let node = node.restart_with(by_second).await;
        let status = node.status().await;
        let model = status.model.unwrap();
        assert_eq!((model.name.as_str(), model.space_id.as_str()), (second, id.as_str()));
        assert_eq!((status.searchable, model.to_embed_anew), (NOTES.len() as u64, 0));
        for (text, question) in NOTES {
            assert_eq!(node.search(question).await.best().text, text, "{first}, then {second}");
        }
        // And back while it runs, which is remembered.
        let node = node.restart().await;
        node.try_use(first).await.unwrap();
        assert_eq!(node.to_embed_anew().await, 0);
        let node = node.restart().await;
        assert_eq!(node.status().await.model.unwrap().name, first);
        for (text, question) in NOTES {
            assert_eq!(node.search(question).await.best().text, text, "{first} again");
        }
        let page = scrape(node.node.metrics_address().unwrap()).await;
        assert_eq!(page.value("syn_embedded_anew_total"), 0.0);
        node.verify_sound().await;
    }
}

/// Vectors that another processor's variant computed are believed, checked, and found right.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_compute_differently_share_claims_and_none_is_found_false() {
    let by = |variant: &str, peers: &[String]| {
        let mut config = mesh_config(peers);
        config.ai.model = variant.into();
        config
    };
    let [w8, row8] = VARIANTS;
    for (author, newcomer) in [(w8, row8), (row8, w8)] {
        let one = TestNode::fresh_with(by(author, &[])).await;
        one.bulk_put(NOTES.iter().map(|(text, _)| shared((*text).to_owned())).collect()).await;
        one.wait_indexed().await;
        let two = TestNode::fresh_with(by(newcomer, &one.node.mesh_addresses())).await;
        wait_for("all to be searchable", async || two.status().await.searchable == NOTES.len() as u64).await;
        let page = async || scrape(two.node.metrics_address().unwrap()).await;
        wait_for("all to be checked", async || page().await.value("syn_unchecked_grains") == 0.0).await;
        let page = page().await;
        let claims = |outcome: &str| page.sum("syn_claims_total{", &format!("outcome=\"{outcome}\""));
        assert_eq!(
            (claims("believed"), claims("false")),
            (NOTES.len() as f64, 0.0),
            "{author} to {newcomer}"
        );
        for (text, question) in NOTES {
            assert_eq!(two.search(question).await.best().text, text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_model_is_no_longer_part_of_the_program_takes_the_built_in_space() {
    let dir = folder();
    let data = dir.path().join("data");
    private_folder(&data);
    private_folder(&data.join("models"));
    std::fs::write(data.join("models/chosen"), "all-MiniLM-L6-v2-int8\n").unwrap();
    let node = TestNode::on(&data, config()).await;
    assert_eq!(node.status().await.model.unwrap().name, *BUILT_IN);
    node.put("The lamp is in the hall.").await;
    node.wait_indexed().await;
    assert_eq!(node.search("Where is the light?").await.best().text, "The lamp is in the hall.");
}
