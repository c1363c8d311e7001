//! A count of the JSON that a value makes, kept while it is written, so that writing stops when it is too much.

use core::cell::Cell;
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// How long a text may be, and the least it will be after what was counted so far. Escapes, and numbers in other forms than
/// the shortest, are not seen: only the text itself tells its length.
pub(super) struct Budget {
    max: usize,
    spent: Cell<usize>,
}

impl Budget {
    pub(super) const fn new(max: usize) -> Self {
        Self {
            max,
            spent: Cell::new(0),
        }
    }

    /// The value, counted when it is written.
    pub(super) const fn limit<'a, T: ?Sized>(&'a self, value: &'a T) -> Limited<'a, T> {
        Limited {
            value,
            budget: self,
        }
    }

    pub(super) const fn spent(&self) -> usize {
        self.spent.get()
    }

    pub(super) const fn is_exceeded(&self) -> bool {
        self.spent() > self.max
    }

    fn spend<E: serde::ser::Error>(&self, len: usize) -> Result<(), E> {
        self.spent.set(self.spent().saturating_add(len));
        if self.is_exceeded() {
            Err(E::custom("too large"))
        } else {
            Ok(())
        }
    }
}

pub(super) struct Limited<'a, T: ?Sized> {
    value: &'a T,
    budget: &'a Budget,
}

impl<T: Serialize + ?Sized> Serialize for Limited<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (inner, budget) = (serializer, self.budget);
        self.value.serialize(Counting { inner, budget })
    }
}

/// What writes, or a part of it, behind the count.
struct Counting<'a, S> {
    inner: S,
    budget: &'a Budget,
}

const NULL: usize = 4;
const SHORTEST_FLOAT: usize = 3;
const QUOTES: usize = 2;
/// Braces, quotes and a colon around the name of a variant.
const VARIANT: usize = 5;

const fn quoted(text: &str) -> usize {
    text.len().saturating_add(QUOTES)
}

const fn variant_len(name: &str) -> usize {
    name.len().saturating_add(VARIANT)
}

fn digits(number: u128) -> usize {
    let more = number.checked_ilog10().unwrap_or(0);
    usize::try_from(more).unwrap_or(0).saturating_add(1)
}

macro_rules! leaves {
    ($($method:ident($value:ident: $type:ty) $len:expr;)*) => {
        $(fn $method(self, $value: $type) -> Result<S::Ok, S::Error> {
            self.budget.spend($len)?;
            self.inner.$method($value)
        })*
    };
}

macro_rules! integers {
    ($($method:ident: $type:ty;)*) => {
        $(fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.budget.spend(digits(u128::from(value)))?;
            self.inner.$method(value)
        })*
    };
}

macro_rules! signed {
    ($($method:ident: $type:ty;)*) => {
        $(fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            let sign = usize::from(value < 0);
            let len = digits(u128::from(value.unsigned_abs())).saturating_add(sign);
            self.budget.spend(len)?;
            self.inner.$method(value)
        })*
    };
}

/// Parts with several values: what is spent for their frame, and what begins them.
macro_rules! compounds {
    ($($method:ident($($name:ident: $type:ty),*) -> $compound:ident, $len:expr;)*) => {
        $(fn $method(self, $($name: $type),*) -> Result<Self::$compound, S::Error> {
            self.budget.spend($len)?;
            Ok(Counting { inner: self.inner.$method($($name),*)?, budget: self.budget })
        })*
    };
}

impl<'a, S: Serializer> Serializer for Counting<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Counting<'a, S::SerializeSeq>;
    type SerializeTuple = Counting<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Counting<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Counting<'a, S::SerializeTupleVariant>;
    type SerializeMap = Counting<'a, S::SerializeMap>;
    type SerializeStruct = Counting<'a, S::SerializeStruct>;
    type SerializeStructVariant = Counting<'a, S::SerializeStructVariant>;

    integers! {
        serialize_u8: u8;
        serialize_u16: u16;
        serialize_u32: u32;
        serialize_u64: u64;
        serialize_u128: u128;
    }

    signed! {
        serialize_i8: i8;
        serialize_i16: i16;
        serialize_i32: i32;
        serialize_i64: i64;
        serialize_i128: i128;
    }

    leaves! {
        serialize_bool(value: bool) NULL;
        serialize_f32(value: f32) SHORTEST_FLOAT;
        serialize_f64(value: f64) SHORTEST_FLOAT;
        serialize_char(value: char) value.len_utf8().saturating_add(QUOTES);
        serialize_str(value: &str) quoted(value);
        // Numbers and commas.
        serialize_bytes(value: &[u8]) value.len().saturating_mul(2);
        serialize_unit_struct(name: &'static str) NULL;
    }

    compounds! {
        serialize_seq(len: Option<usize>) -> SerializeSeq, 0;
        serialize_tuple(len: usize) -> SerializeTuple, 0;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct, 0;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeTupleVariant, variant_len(variant);
        serialize_map(len: Option<usize>) -> SerializeMap, 0;
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct, 0;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeStructVariant, variant_len(variant);
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.budget.spend(NULL)?;
        self.inner.serialize_none()
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.budget.spend(NULL)?;
        self.inner.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&self.budget.limit(value))
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.budget.spend(quoted(variant))?;
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = self.budget.limit(value);
        self.inner.serialize_newtype_struct(name, &value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.budget.spend(variant_len(variant))?;
        let value = self.budget.limit(value);
        self.inner
            .serialize_newtype_variant(name, index, variant, &value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Parts whose values have a comma or a bracket each.
macro_rules! lists {
    ($($part:ident $method:ident;)*) => {
        $(impl<S: $part> $part for Counting<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                self.budget.spend(1)?;
                self.inner.$method(&self.budget.limit(value))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
    };
}

lists! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

/// Parts whose values have names.
macro_rules! structs {
    ($($part:ident)*) => {
        $(impl<S: $part> $part for Counting<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                self.budget.spend(quoted(key).saturating_add(2))?;
                self.inner.serialize_field(key, &self.budget.limit(value))
            }

            fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
                self.inner.skip_field(key)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
    };
}

structs! { SerializeStruct SerializeStructVariant }

impl<S: SerializeMap> SerializeMap for Counting<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.budget.spend(1)?;
        self.inner.serialize_key(&self.budget.limit(key))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.budget.spend(1)?;
        self.inner.serialize_value(&self.budget.limit(value))
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}
