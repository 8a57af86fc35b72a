//! What can be asked beside a question in words: by vectors, by one of several conditions and none of others, and in numbers.

use synapsenet_proto::rpc;
use tonic::{Code, Status};

use super::harness::{Client, TestNode, note, within};

/// What the details of a status say is wrong with which field.
fn fields(status: &Status) -> Vec<String> {
    use tonic_types::StatusExt;
    let wrong = status.get_details_bad_request().map(|wrong| wrong.field_violations).unwrap_or_default();
    wrong.into_iter().map(|wrong| wrong.field).collect()
}

fn of_topic(topic: &str) -> rpc::Filter {
    rpc::Filter { topic: topic.into(), ..Default::default() }
}

fn tagged(tag: &str) -> rpc::Filter {
    rpc::Filter { tags: vec![tag.into()], ..Default::default() }
}

async fn put(node: &TestNode, text: &str, topic: &str, tags: &[&str], lang: &str) -> String {
    let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
    node.put_draft(rpc::Draft { topic: topic.into(), tags, lang: lang.into(), ..note(text) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_condition_of_several_and_none_of_others_hold_wherever_a_filter_is_taken() {
    let node = TestNode::fresh().await;
    let apples = put(&node, "Apples keep in the cellar until spring.", "food", &["store"], "en").await;
    let pears = put(&node, "Pears ripen on the window sill.", "garden", &["draft", "store"], "en-GB").await;
    let plums = put(&node, "Plums become jam in September.", "garden", &[], "en").await;
    put(&node, "The car needs new tyres.", "car", &["store"], "").await;
    node.wait_indexed().await;
    let filter = rpc::Filter {
        any: vec![of_topic("food"), of_topic("garden")],
        none: vec![tagged("draft")],
        ..Default::default()
    };
    let ids = |grains: &[rpc::Grain]| grains.iter().map(|grain| grain.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&node.list(filter.clone()).await), [plums.clone(), apples.clone()], "the newest first");
    let found = node.search_in("fruit", 10, filter.clone()).await;
    let mut hits: Vec<_> = found.hits.iter().map(|hit| hit.grain.clone().unwrap().id).collect();
    hits.sort();
    let mut expected = [apples.clone(), plums.clone()];
    expected.sort();
    assert_eq!(hits, expected);
    let by_words = rpc::SearchRequest {
        text: "pears plums tyres".into(),
        mode: rpc::SearchMode::Words.into(),
        filter: Some(filter.clone()),
        ..Default::default()
    };
    let by_words = node.try_search(by_words).await.unwrap();
    let ids: Vec<String> = by_words.hits.iter().map(|hit| hit.grain.clone().unwrap().id).collect();
    assert_eq!(ids, std::slice::from_ref(&plums));

    use rpc::Facet::{Lang, Tag, Topic};
    let counted = |facets: &[rpc::Facet], filter: Option<rpc::Filter>, top| {
        let facets = facets.iter().map(|&facet| facet.into()).collect();
        let request = rpc::CountRequest { filter, facets, top, ..Default::default() };
        let mut rpc = node.rpc.clone();
        async move { within("a count", rpc.count(request)).await.map(tonic::Response::into_inner) }
    };
    assert_eq!(counted(&[], Some(filter.clone()), 0).await.unwrap().grains, 2);
    let all = counted(&[Topic, Tag, Lang], None, 1).await.unwrap();
    assert_eq!((all.grains, all.partial), (4, false));
    let told: Vec<_> = all
        .facets
        .iter()
        .map(|one| (one.values[0].value.as_str(), one.values[0].grains, one.others, one.distinct))
        .collect();
    assert_eq!(told, [("garden", 2, 2, 3), ("store", 3, 1, 2), ("en", 2, 2, 3)]);
    for (facets, top, field) in [(vec![Topic, Topic], 0, "facets"), (vec![Topic], 101, "top")] {
        let refused = counted(&facets, None, top).await.unwrap_err();
        assert_eq!((refused.code(), fields(&refused)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    let wrong = rpc::Filter { none: vec![of_topic("food"), of_topic("Bad!")], ..Default::default() };
    let refused = counted(&[], Some(wrong), 0).await.unwrap_err();
    assert_eq!(fields(&refused), ["filter.none[1].topic"]);

    let request = rpc::RetractMatchingRequest { filter: Some(filter), ..Default::default() };
    let mut retracting =
        within("an answer", node.rpc.clone().retract_matching(request)).await.unwrap().into_inner();
    let mut last = rpc::RetractMatchingResponse::default();
    while let Some(answer) = within("an end", retracting.message()).await.unwrap() {
        last = answer;
    }
    assert_eq!((last.retracted, last.finished), (2, true));
    assert!(node.try_get(&pears).await.is_ok() && node.try_get(&plums).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_finds_what_lies_near_it_in_the_space_that_it_is_of() {
    let node = TestNode::fresh().await;
    let (boiler, cake) =
        (node.put("The boiler was serviced in May.").await, node.put("A cake needs flour.").await);
    node.wait_indexed().await;
    let request = rpc::GetRequest { id: boiler.clone(), with_vector: true, ..Default::default() };
    let vector = within("a grain", node.rpc.clone().get(request)).await.unwrap().into_inner().vector.unwrap();
    let model = node.status().await.model.unwrap();
    assert_eq!(
        (vector.space_id.as_str(), vector.components.len()),
        (&*model.space_id, model.dimension as usize)
    );
    assert!(node.try_get(&boiler).await.unwrap().vector.is_none(), "only when it is asked for");

    let scaled: Vec<f32> = vector.components.iter().map(|component| component * 7.0).collect();
    let near = |vector: Vec<f32>, space_id: &str| rpc::SearchRequest {
        vector,
        space_id: space_id.into(),
        min_score: Some(-1.0),
        with_vectors: true,
        ..Default::default()
    };
    let found = node.try_search(near(scaled.clone(), &model.space_id)).await.unwrap();
    let ids: Vec<_> = found.hits.iter().map(|hit| hit.grain.clone().unwrap().id).collect();
    assert_eq!(ids, [boiler.clone(), cake]);
    assert!(found.hits[0].cosine.unwrap() > 0.999 && found.hits[1].cosine.unwrap() < 0.9);
    assert_eq!(found.hits[0].vector.as_ref(), Some(&vector), "as the node keeps it");
    assert_eq!(found.summary.mode(), rpc::SearchMode::Meaning);
    let best = rpc::SearchRequest { min_score: Some(0.9), ..near(scaled.clone(), "") };
    assert_eq!(node.try_search(best).await.unwrap().hits.len(), 1);
    let elsewhere = rpc::SearchRequest { filter: Some(of_topic("elsewhere")), ..near(scaled.clone(), "") };
    assert_eq!(node.try_search(elsewhere).await.unwrap().hits.len(), 0);

    let other = "ab".repeat(32);
    let words = rpc::SearchRequest { mode: rpc::SearchMode::Words.into(), ..near(scaled.clone(), "") };
    let both = rpc::SearchRequest { like: boiler, ..near(scaled.clone(), "") };
    let none = rpc::SearchRequest { text: "x".into(), space_id: other.clone(), ..Default::default() };
    for (request, field, word) in [
        (near(scaled.clone(), &other), "space_id", "this node embeds for"),
        (near(scaled[1..].to_vec(), ""), "vector", "components; those of"),
        (near(vec![0.0; scaled.len()], ""), "vector", "no direction"),
        (near(vec![f32::NAN; scaled.len()], ""), "vector", "no direction"),
        (near(scaled.clone(), "me"), "space_id", "64 hexadecimal digits"),
        (words, "mode", "a vector has no words"),
        (both, "text", "one of these"),
        (none, "space_id", "no vector"),
    ] {
        let refused = node.try_search(request).await.map(drop).unwrap_err();
        assert_eq!(fields(&refused), [field], "{refused:?}");
        Client::assert_refused(Err::<(), _>(refused), Code::InvalidArgument, word);
    }
}
