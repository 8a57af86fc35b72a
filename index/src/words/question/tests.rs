use super::*;

fn conditions(text: &str) -> (String, Vec<String>, Vec<String>) {
    let question = WordQuestion::parse(text);
    let phrases = question.phrases().map(str::to_owned).collect();
    (question.plain().to_owned(), phrases, question.excluded().map(str::to_owned).collect())
}

fn words(text: &str) -> Vec<String> {
    WordQuestion::parse(text).words().iter().map(|word| word.form.clone()).collect()
}

#[test]
fn phrases_and_exclusions_are_read_as_they_are_typed() {
    for (text, plain, phrases, excluded) in [
        ("plain words", "plain words", &[][..], &[][..]),
        ("find \"Connection refused\" here", "find Connection refused here", &["Connection refused"], &[]),
        ("cats -dogs, fish", "cats fish", &[], &["dogs"]),
        ("a -\"big dog\" b", "a b", &[], &["big dog"]),
        (
            "“typographic quotes” and „deutsche“",
            "typographic quotes and deutsche",
            &["typographic quotes", "deutsche"],
            &[],
        ),
        ("well-known - or --verbose x -", "well-known - or --verbose x -", &[], &[]),
        ("an \"open quote", "an \"open quote", &[], &[]),
        ("a 5\" disk of 3\" size", "a 5\" disk of 3\" size", &[], &[]),
        ("(\"in brackets\")", "( in brackets )", &["in brackets"], &[]),
        ("say \"a \"b\" c\"", "say a \"b c\"", &["a \"b"], &[]),
        ("\"\" \" \" \"!\" x", "! x", &[], &[]),
        ("-only -\"these two\"", "", &[], &["only", "these two"]),
        ("-foo::bar -C++", "", &[], &["foo::bar", "C++"]),
        ("-", "-", &[], &[]),
        ("", "", &[], &[]),
    ] {
        let of = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        assert_eq!(conditions(text), (plain.to_owned(), of(phrases), of(excluded)), "{text}");
    }
}

#[test]
fn question_words_are_dropped_unless_they_are_quoted_or_all_there_is() {
    assert_eq!(words("How does the garbage collector work?"), ["garbage", "collector", "work"]);
    assert_eq!(words("\"how to\" cook"), ["how", "cook"]);
    assert_eq!(words("who are you?"), ["who", "you"]);
    assert_eq!(words("to be or not to be"), Vec::<String>::new());
    assert!(WordQuestion::parse("to be or not to be, 😀!").is_empty());
    assert!(WordQuestion::parse("-cats").is_empty() && !WordQuestion::parse("cats").is_empty());
    assert_eq!(words("same same SAME sames -other"), ["same", "sames"]);
}

#[test]
fn a_question_has_a_bounded_number_of_words_and_conditions() {
    let many: String = (0..1000).map(|number| format!("\"w{number}\"")).collect();
    let question = WordQuestion::parse(&many);
    assert_eq!(question.words().len(), MAX_WORDS);
    assert_eq!(question.phrases().count(), MAX_CONDITIONS);
}

#[test]
fn quotes_and_hyphens_of_prose_are_no_conditions() {
    let short = "the \"annual service\" of the boiler -gas";
    let question = WordQuestion::parse(short);
    assert_eq!((question.phrases().count(), question.excluded().count()), (1, 1));
    let prose = format!("{short} is what I would like to read about, and whatever else there is");
    let question = WordQuestion::parse(&prose);
    assert!(!question.has_conditions());
    assert_eq!(question.plain(), prose);
}

#[test]
fn a_word_that_stands_in_a_question_again_counts_more_and_not_without_end() {
    let counts =
        |text: &str| -> Vec<u8> { WordQuestion::parse(text).words().iter().map(|word| word.count).collect() };
    assert_eq!(counts("rent, Rent and the choir"), [2, 1]);
    assert_eq!(counts(&"rent ".repeat(100)), [MAX_COUNT]);
}

#[test]
fn a_text_fits_if_phrases_stand_in_it_and_exclusions_do_not() {
    for (question, parts, fits) in [
        ("anything", &["else"][..], true),
        ("\"connection refused\"", &["error: Connection\n\t refused!"], true),
        ("\"connection refused\"", &["connection was refused"], false),
        ("\"connection refused\"", &["connections refused", "disconnection refused"], false),
        ("\"connection refused\"", &["connection", "refused"], false),
        ("\"connection refused\"", &["nothing", "Connection Refused"], true),
        ("\"creme brulee\"", &["Crème  brûlée"], true),
        ("\"Crème brûlée\"", &["CREME BRULEE"], true),
        ("\"ueber uns\"", &["Über uns"], true),
        ("\"uber uns\"", &["Über uns"], true),
        ("\"über uns\"", &["Uber uns"], true),
        ("\"京都\"", &["東京都に"], true),
        ("\"foo::bar\"", &["use foo::bar;"], true),
        ("\"foo::bar\"", &["use foo bar;"], false),
        ("\"it's\"", &["it’s"], true),
        ("\"a a b\"", &["a a a b"], true),
        ("\".env\"", &["the.env"], true),
        ("\"env\"", &["environment .envy"], false),
        ("-dogs", &["cats and dogs"], false),
        ("-dogs", &["cats and dogsled", "a dog"], true),
        ("-DOGS", &["", "Dogs!"], false),
        ("-\"hot dog\"", &["hot dogs, dog"], true),
        ("-\"hot dog\"", &["a hot-dog, hot  dog"], false),
        ("\"cat\" -dog", &["cat"], true),
        ("\"cat\" -dog", &["cat", "dog"], false),
        ("\"cat\" \"fish\"", &["cat"], false),
        ("\"soft hyphen\"", &["so\u{AD}ft hy\u{200B}phen"], true),
    ] {
        assert_eq!(WordQuestion::parse(question).fits(parts), fits, "{question} {parts:?}");
    }
    assert!(WordQuestion::parse("\"a b\"").has_conditions() && WordQuestion::parse("-a").has_conditions());
    assert!(!WordQuestion::parse("a - b").has_conditions());
}

#[test]
fn words_of_the_question_are_marked_where_they_stand() {
    for (question, language, text, marked) in [
        ("running cats", "en", "A cat runs; scatter it.", &["cat", "runs"][..]),
        ("Wald", "de", "durch die Wälder", &["Wälder"]),
        ("ueber", "", "Über uns", &["Über"]),
        ("книга", "ru", "в книгах есть", &["книгах"]),
        ("東京", "ja", "大東京都と京", &["東京"]),
        ("東京都", "ja", "大東京都", &["東京都"]),
        ("192.168.1.44", "", "at 192.168.1.44, not 192.168", &["192.168.1.44", "192", "168"]),
        ("file", "", "call read_file now", &["file"]),
        ("read_file", "", "call read_file now", &["read_file"]),
        ("\"hot dogs\" -cats", "", "cats eat a hot-dog", &["hot", "dog"]),
        ("e\u{301}te", "", "un E\u{301}te\u{301}!", &["E\u{301}te\u{301}"]),
        ("the", "", "the end", &[]),
    ] {
        let marks = WordQuestion::parse(question).marks(text, language);
        let found: Vec<&str> = marks.into_iter().map(|mark| &text[mark]).collect();
        assert_eq!(found, marked, "{question}: {text}");
    }
}

#[test]
fn reading_a_question_takes_time_in_proportion_to_its_length() {
    for hostile in ["(\"a", "\"a ", "-\"", " -a", "“"] {
        let text = hostile.repeat(200_000);
        let start = std::time::Instant::now();
        let question = WordQuestion::parse(&text);
        let _ = question.fits(&[&text[..16_384.min(text.floor_char_boundary(16_384))]]);
        assert!(start.elapsed().as_secs() < 20, "{hostile} took {:?}", start.elapsed());
    }
}
