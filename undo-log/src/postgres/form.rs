//! How values of a type compare, and the bytes that two of them share exactly when the server calls them equal.
//!
//! Sources: the types' send and comparison functions in PostgreSQL's source (`interval_cmp_value`, `btarraycmp`, `range_cmp`,
//! `multirange_cmp`, `btrecordcmp`, `compareJsonbContainers`).

use super::binary::{float, numeric, record};

/// Elements of composite values and arrays are looked into this deep.
const DEPTH_LIMIT: usize = 16;

/// How values of a type compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Equal values have equal bytes.
    Plain,
    /// Equal values have equal bytes, in the order of an extension's type (hstore, ltree).
    Sent,
    /// `citext`: values are equal when the server's `lower()` of them is, by the database's collation.
    Folded,
    /// `numeric`: 1.0 and 1.00 are equal.
    Numeric,
    /// `real` and `double precision`: two zeros, and many NaNs.
    Float,
    /// `character`: blanks at the end do not count.
    Padded,
    /// `interval`: a month is 30 days, a day 24 hours.
    Interval,
    /// `jsonb`, whose numbers are numeric.
    Json,
    /// An array of such elements.
    Array(Box<Form>),
    /// A range of them.
    Range(Box<Form>),
    /// A multirange of them.
    Multirange(Box<Form>),
    /// A composite value.
    Record(Vec<Form>),
}

impl Form {
    /// Of the server's own types that are not made of others; None: equal values may differ in a way that is not known
    /// here. `image`: the server says that values are equal when their bytes are.
    pub fn of_base(oid: u32, image: bool) -> Option<Self> {
        match oid {
            1700 => Some(Self::Numeric),
            700 | 701 => Some(Self::Float),
            1042 => Some(Self::Padded),
            1186 => Some(Self::Interval),
            3802 => Some(Self::Json),
            _ => image.then_some(Self::Plain),
        }
    }

    /// Of the types of extensions, by what compares them: the function and its library. `citext_cmp` compares `lower()` of both
    /// as bytes, where no collation calls different texts equal; what `hstore_send` and `ltree_send` send has one form
    /// for what `hstore_cmp` and `ltree_cmp` call equal.
    pub fn of_extension(function: &str, library: &str) -> Option<Self> {
        match (function, library) {
            ("citext_cmp", "$libdir/citext") => Some(Self::Folded),
            ("hstore_cmp", "$libdir/hstore") | ("ltree_cmp", "$libdir/ltree") => Some(Self::Sent),
            _ => None,
        }
    }

    /// The bytes to compare; None when the value is not of this form.
    pub fn canonical(&self, value: &[u8]) -> Option<Vec<u8>> {
        self.within(value, DEPTH_LIMIT)
    }

    fn within(&self, value: &[u8], depth: usize) -> Option<Vec<u8>> {
        let depth = depth.checked_sub(1)?;
        let mut rest = Reader(value);
        let mut out = Vec::with_capacity(value.len());
        match self {
            Self::Plain | Self::Sent => return Some(value.to_vec()),
            // Only the server knows.
            Self::Folded => return None,
            Self::Numeric => return Some(numeric(value)),
            Self::Float => return Some(float(value)),
            Self::Padded => {
                let padding = value.iter().rev().take_while(|b| **b == b' ').count();
                return Some(value[..value.len() - padding].to_vec());
            }
            Self::Interval => {
                let time = i128::from(i64::from_be_bytes(rest.take(8)?.try_into().ok()?));
                let (days, months) = (i128::from(rest.int()?), i128::from(rest.int()?));
                out.extend((time + (days + months * 30) * 86_400_000_000).to_be_bytes());
            }
            Self::Json => return json(value),
            Self::Array(element) => {
                let dimensions = rest.int()?;
                // Whether there may be NULLs, which an array without any may say too, and the elements' type.
                rest.take(8)?;
                out.extend(dimensions.to_be_bytes());
                for _ in 0..dimensions {
                    out.extend(rest.take(8)?);
                }
                while !rest.0.is_empty() {
                    rest.element(element, depth, &mut out)?;
                }
            }
            Self::Range(bound) => {
                out.extend(rest.take(1)?);
                while !rest.0.is_empty() {
                    rest.element(bound, depth, &mut out)?;
                }
            }
            Self::Multirange(bound) => {
                let range = Self::Range(bound.clone());
                out.extend(rest.take(4)?);
                while !rest.0.is_empty() {
                    rest.element(&range, depth, &mut out)?;
                }
            }
            Self::Record(forms) => {
                let values = record(value)?;
                if values.len() != forms.len() {
                    return None;
                }
                for ((_, value), form) in values.into_iter().zip(forms) {
                    add(form, value, depth, &mut out)?;
                }
                return Some(out);
            }
        }
        rest.0.is_empty().then_some(out)
    }
}

/// A value behind its length, -1 for NULL.
fn add(form: &Form, value: Option<&[u8]>, depth: usize, out: &mut Vec<u8>) -> Option<()> {
    match value {
        None => out.extend((-1_i32).to_be_bytes()),
        Some(value) => {
            let canonical = form.within(value, depth)?;
            out.extend(i32::try_from(canonical.len()).ok()?.to_be_bytes());
            out.extend(canonical);
        }
    }
    Some(())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn int(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn element(&mut self, form: &Form, depth: usize, out: &mut Vec<u8>) -> Option<()> {
        let length = self.int()?;
        let value = if length == -1 { None } else { Some(self.take(usize::try_from(length).ok()?)?) };
        add(form, value, depth, out)
    }
}

/// Its text, in which each object has one order of keys; numbers lose the zeros at the end of their fractions.
fn json(value: &[u8]) -> Option<Vec<u8>> {
    let (1, text) = value.split_first().map(|(version, text)| (*version, text))? else { return None };
    let mut out = Vec::with_capacity(text.len());
    let (mut at, mut quoted) = (0, false);
    while at < text.len() {
        let byte = text[at];
        if quoted && byte == b'\\' {
            out.extend(text.get(at..at + 2)?);
            at += 2;
            continue;
        }
        quoted ^= byte == b'"';
        if quoted || !(byte.is_ascii_digit() || byte == b'-') {
            out.push(byte);
            at += 1;
            continue;
        }
        let numeral = |b: &u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E');
        let number = &text[at..at + text[at..].iter().take_while(|b| numeral(b)).count()];
        at += number.len();
        let zeros = number.iter().rev().take_while(|b| **b == b'0').count();
        let shorter = &number[..number.len() - if number.contains(&b'.') { zeros } else { 0 }];
        out.extend(shorter.strip_suffix(b".").unwrap_or(shorter));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(value: &[u8]) -> Vec<u8> {
        [&(value.len() as i32).to_be_bytes(), value].concat()
    }

    /// Digits in base 10000 of which the first weighs 1, and the digits shown behind the point.
    fn decimal(digits: &[u16], shown: u16) -> Vec<u8> {
        let head = [digits.len() as u16, 0, 0, shown];
        head.iter().chain(digits).flat_map(|n| n.to_be_bytes()).collect()
    }

    #[test]
    fn intervals_are_as_long_as_they_are() {
        let interval = |time: i64, days: i32, months: i32| {
            let bytes = [&time.to_be_bytes()[..], &days.to_be_bytes(), &months.to_be_bytes()].concat();
            Form::Interval.canonical(&bytes).unwrap()
        };
        assert_eq!(interval(0, 30, 0), interval(0, 0, 1));
        assert_eq!(interval(86_400_000_000, -1, 0), interval(0, 0, 0));
        assert_ne!(interval(1, 0, 0), interval(0, 0, 0));
        assert_ne!(interval(i64::MAX, i32::MAX, i32::MAX), interval(i64::MIN, i32::MIN, i32::MIN));
        assert_eq!(Form::Interval.canonical(&[0; 15]), None);
    }

    #[test]
    fn json_numbers_lose_their_scale_and_texts_nothing() {
        let json = |text: &str| Form::Json.canonical(&[b"\x01", text.as_bytes()].concat());
        assert_eq!(json(r#"{"a": [1.50, -0.0, 10, 0.10]}"#), json(r#"{"a": [1.5, -0, 10, 0.1]}"#));
        assert_ne!(json("10"), json("1"));
        assert_ne!(json("[1]"), json("1"));
        assert_ne!(json(r#""1.50""#), json(r#""1.5""#));
        assert_ne!(json(r#""\"1.50""#), json(r#""\"1.5""#));
        assert_ne!(json(r#"["\\", 1.50]"#), json(r#"["\\", 1.51]"#));
        assert_eq!(json(r#"["\\", 1.50]"#), json(r#"["\\", 1.5]"#));
        assert_eq!(Form::Json.canonical(b"\x02{}"), None);
    }

    #[test]
    fn what_is_made_of_others_compares_as_they_do() {
        let numeric = || Box::new(Form::Numeric);
        let (one, same) = (decimal(&[1, 5000], 1), decimal(&[1, 5000, 0], 8));
        let array = |nulls: i32, first: i32, value: &[u8]| {
            let head: Vec<u8> = [1, nulls, 1700, 1, first].iter().flat_map(|n| n.to_be_bytes()).collect();
            Form::Array(numeric()).canonical(&[head, element(value)].concat()).unwrap()
        };
        assert_eq!(array(0, 1, &one), array(1, 1, &same));
        assert_ne!(array(0, 1, &one), array(0, 0, &one));
        assert_ne!(array(0, 1, &one), array(0, 1, &decimal(&[2], 0)));
        let range = |flags: u8, value: &[u8]| [&[flags][..], &element(value)].concat();
        let canonical = |bytes: &[u8]| Form::Range(numeric()).canonical(bytes).unwrap();
        assert_eq!(canonical(&range(2, &one)), canonical(&range(2, &same)));
        assert_ne!(canonical(&range(2, &one)), canonical(&range(0, &one)));
        assert_ne!(canonical(&range(8, &one)), canonical(&range(16, &one)));
        let several = |value: &[u8]| {
            let bytes = [&1_i32.to_be_bytes()[..], &element(&range(2, value))].concat();
            Form::Multirange(numeric()).canonical(&bytes).unwrap()
        };
        assert_eq!(several(&one), several(&same));
        let composite = |values: &[Option<&[u8]>]| {
            let mut bytes = (values.len() as i32).to_be_bytes().to_vec();
            for value in values {
                bytes.extend(1700_u32.to_be_bytes());
                bytes.extend(value.map_or_else(|| (-1_i32).to_be_bytes().to_vec(), element));
            }
            Form::Record(vec![Form::Numeric, Form::Numeric]).canonical(&bytes)
        };
        assert_eq!(composite(&[Some(&one), None]), composite(&[Some(&same), None]));
        assert_ne!(composite(&[Some(&one), None]), composite(&[None, Some(&one)]));
        assert_eq!(composite(&[Some(&one)]), None);
    }
}
