//! The page for those who do not read OpenMetrics: the same figures in the text format of Prometheus, version 0.0.4.
//!
//! The formats differ in few things (<https://prometheus.io/docs/instrumenting/exposition_formats>): the older one knows neither units nor an
//! end, a counter's family is called as its samples are, and there are no types "info" and "unknown".

/// The name of a family without the part that tells its samples from others, and the type, in the older format.
fn older(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "gauge" => ("", "gauge"),
        "histogram" => ("", "histogram"),
        "summary" => ("", "summary"),
        _ => ("", "untyped"),
    }
}

/// Writes a page of OpenMetrics, as `prometheus_client` makes it, in the older format.
pub(crate) fn from_open_metrics(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    // The help of a family comes before its type, on which its name depends.
    let mut help = None;
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), meaning) => {
                help = Some((name, meaning.unwrap_or_default()))
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = older(kind);
                if let Some((_, meaning)) = help.take().filter(|(of, _)| *of == name) {
                    text.push_str(&format!("# HELP {name}{suffix} {meaning}\n"));
                }
                text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            }
            (Some("#"), ..) => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::{Registry, Unit};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_type_is_written_as_the_older_format_has_it() {
        let mut registry = Registry::default();
        let counter: Counter = Counter::default();
        counter.inc_by(3);
        registry.register("calls", "Calls that came", counter);
        registry.register_with_unit("size", "What it takes", Unit::Bytes, Gauge::<i64>::default());
        registry.register("build", "The program", Info::new([("version", "1")]));
        let time = Histogram::new([1.0]);
        time.observe(0.5);
        registry.register_with_unit("time", "How long", Unit::Seconds, time);
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        let expected = "# HELP calls_total Calls that came.\n# TYPE calls_total counter\ncalls_total 3\n\
                        # HELP size_bytes What it takes.\n# TYPE size_bytes gauge\nsize_bytes 0\n\
                        # HELP build_info The program.\n# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n\
                        # HELP time_seconds How long.\n# TYPE time_seconds histogram\ntime_seconds_sum 0.5\n\
                        time_seconds_count 1\ntime_seconds_bucket{le=\"1.0\"} 1\ntime_seconds_bucket{le=\"+Inf\"} 1\n";
        assert_eq!(from_open_metrics(&page), expected);
    }

    /// A family to register: which type, whether it has a unit, and its series with their values.
    #[derive(Debug, Clone)]
    struct Made {
        kind: u8,
        has_unit: bool,
        series: BTreeMap<String, u32>,
    }

    fn made() -> impl Strategy<Value = Made> {
        // Also what has to be escaped, and what looks like the rest of the format.
        let label =
            prop_oneof![".{0,12}", Just("\"\\\n# TYPE x counter\n".to_owned()), Just("# EOF".to_owned())];
        let series = prop::collection::btree_map(label, any::<u32>(), 1..4);
        (0u8..3, any::<bool>(), series).prop_map(|(kind, has_unit, series)| Made { kind, has_unit, series })
    }

    fn register(registry: &mut Registry, number: usize, made: &Made) {
        let name = format!("family{number}");
        let labels = |value: &String| [("value", value.clone())];
        macro_rules! put {
            ($metric:expr) => {
                match made.has_unit {
                    true => registry.register_with_unit(name, "What it means", Unit::Seconds, $metric),
                    false => registry.register(name, "What it means", $metric),
                }
            };
        }
        match made.kind {
            0 => {
                let family = Family::<[(&'static str, String); 1], Counter>::default();
                for (value, count) in &made.series {
                    family.get_or_create(&labels(value)).inc_by(u64::from(*count));
                }
                put!(family);
            }
            1 => {
                let family = Family::<[(&'static str, String); 1], Gauge>::default();
                for (value, count) in &made.series {
                    family.get_or_create(&labels(value)).set(i64::from(*count));
                }
                put!(family);
            }
            _ => {
                let family = Family::<[(&'static str, String); 1], Histogram>::new_with_constructor(|| {
                    Histogram::new([1.0, 10.0])
                });
                for (value, count) in &made.series {
                    family.get_or_create(&labels(value)).observe(f64::from(*count));
                }
                put!(family);
            }
        }
    }

    /// The lines of a page that are samples.
    fn samples(page: &str) -> Vec<&str> {
        page.lines().filter(|line| !line.starts_with('#')).collect()
    }

    proptest! {
        #[test]
        fn no_figure_is_lost_and_each_belongs_to_a_family_of_its_name(families in prop::collection::vec(made(), 0..6)) {
            let mut registry = Registry::default();
            families.iter().enumerate().for_each(|(number, made)| register(&mut registry, number, made));
            let mut page = String::new();
            encode(&mut page, &registry).unwrap();
            let text = from_open_metrics(&page);
            prop_assert_eq!(samples(&text), samples(&page));
            prop_assert!(!text.contains("\n# EOF\n") && !text.contains("# UNIT "));
            let (mut family, mut kind, mut helped) = (String::new(), String::new(), String::new());
            for line in text.lines() {
                if let Some(help) = line.strip_prefix("# HELP ") {
                    helped = help.split(' ').next().unwrap().to_owned();
                } else if let Some(typed) = line.strip_prefix("# TYPE ") {
                    let (name, of) = typed.split_once(' ').unwrap();
                    (family, kind) = (name.to_owned(), of.to_owned());
                    prop_assert_eq!(&family, &helped);
                    prop_assert!(["counter", "gauge", "histogram"].contains(&of), "{}", of);
                    prop_assert_eq!(family.ends_with("_total"), of == "counter");
                } else {
                    let name = line.split(['{', ' ']).next().unwrap();
                    let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                    let of = if kind == "histogram" { of_histogram.unwrap() } else { name };
                    prop_assert_eq!(of, &family);
                }
            }
        }

        #[test]
        fn whatever_it_is_given_it_does_not_panic(page in ".{0,200}") {
            from_open_metrics(&page);
        }
    }
}
