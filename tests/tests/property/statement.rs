//! A statement that can be said in two ways: as one text, or prepared with its values bound.

/// A value as a driver binds it.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    /// None.
    Null,
    /// Characters.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A number.
    Int(i64),
    /// A number without a sign.
    UInt(u64),
    /// A number that is not exact.
    Double(f64),
}

/// A value in both forms.
#[derive(Clone, Debug)]
pub struct Value {
    /// Within the text.
    pub sql: String,
    /// What stands for it in the text of a prepared statement; `?` is the place.
    pub place: String,
    /// What is bound there.
    pub param: Param,
}

/// A statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// What sort of statement it is; those of one sort are counted together.
    pub kind: &'static str,
    /// Its text, with `\u{1}number\u{2}` for each value.
    pub template: String,
    /// The values.
    pub values: Vec<Value>,
    /// Whether it is prepared.
    pub prepared: bool,
    /// Whether it does something else each time it is run, so that only its undoing can be looked at.
    pub fleeting: bool,
    /// What is sent after the server asked for the data of a COPY.
    pub data: Option<String>,
}

impl Statement {
    /// A statement without values.
    pub fn plain(kind: &'static str, text: impl Into<String>) -> Self {
        let template = text.into();
        Self { kind, template, values: Vec::new(), prepared: false, fleeting: false, data: None }
    }

    /// Whether it changes rows, as opposed to beginning, ending or reading.
    pub fn writes(&self) -> bool {
        !["control", "select"].contains(&self.kind)
    }

    /// With the values in the text.
    pub fn text(&self) -> String {
        self.fill(|value| value.sql.clone())
    }

    /// With places for the values, and the values in the order of their places.
    pub fn bound(&self, place: impl Fn(usize) -> String) -> (String, Vec<Param>) {
        let mut params = Vec::new();
        let text = self.fill(|value| {
            params.push(value.param.clone());
            value.place.replacen('?', &place(params.len()), 1)
        });
        (text, params)
    }

    fn fill(&self, mut each: impl FnMut(&Value) -> String) -> String {
        let mut parts = self.template.split('\u{1}');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (number, rest) = part.split_once('\u{2}').expect("a place ends");
            let number: usize = number.parse().expect("a place is a number");
            text += &each(&self.values[number]);
            text += rest;
        }
        text
    }
}
