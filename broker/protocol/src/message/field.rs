//! How a value of each type is read and written. A `message!` struct is nothing but its fields in a row.

use std::borrow::Cow;

use super::definition::{FieldDefinition, Preset, Spec, Type};
use crate::uuid::Uuid;
use crate::wire::{ARRAY_RESERVE_MAX, DecodeError, EncodeError, Reader, Writer};

/// What a value must know about the place where it stands.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Version of the message.
    pub version: i16,
    /// Compact lengths and tagged fields.
    pub flexible: bool,
    /// Null is allowed here.
    pub nullable: bool,
}

impl At {
    /// The place of a field in a struct.
    pub const fn field(self, spec: &Spec) -> At {
        At {
            nullable: spec.nullable.contains(self.version),
            ..self
        }
    }

    /// The place of an element in an array: never null.
    const fn element(self) -> At {
        At {
            nullable: false,
            ..self
        }
    }
}

/// A type that a message can hold.
pub trait Field<'a>: Sized + PartialEq {
    /// Its name in the declaration.
    const TYPE: Type;
    /// Whether it has a null.
    const NULLABLE: bool = false;

    /// The fewest bytes one value takes: bounds how many an array can have.
    fn size_min(at: At) -> usize;
    /// Reads one value.
    fn get(r: &mut Reader<'a>, at: At) -> Result<Self, DecodeError>;
    /// Writes one value.
    fn put(&self, w: &mut Writer, at: At);
    /// The declared default.
    fn preset(preset: Preset) -> Self;

    /// Whether this is the declared default.
    fn is_preset(&self, preset: Preset) -> bool {
        *self == Self::preset(preset)
    }
}

/// A type with a null of its own, so that `Option` of it can be a field.
pub trait Nullable<'a>: Field<'a> {
    /// Reads a value or null.
    fn get_nullable(r: &mut Reader<'a>, at: At) -> Result<Option<Self>, DecodeError>;
    /// Writes a value or null.
    fn put_nullable(value: Option<&Self>, w: &mut Writer, at: At);
}

impl FieldDefinition {
    /// Ties name and declaration to the type; a nullable field must be of a type with a null, and no other may be.
    pub const fn new<'a, T: Field<'a>>(name: &'static str, spec: Spec) -> Self {
        assert!(
            T::NULLABLE != spec.nullable.is_empty(),
            "Option<_> goes with nullable(\"…\")"
        );
        FieldDefinition {
            name,
            spec,
            ty: T::TYPE,
        }
    }
}

macro_rules! fixed {
    ($($ty:ident $name:ident $size:literal, $preset:expr;)*) => { $(
        impl<'a> Field<'a> for $ty {
            const TYPE: Type = Type::$name;

            fn size_min(_: At) -> usize {
                $size
            }

            fn get(r: &mut Reader<'a>, _: At) -> Result<Self, DecodeError> {
                r.$ty()
            }

            fn put(&self, w: &mut Writer, _: At) {
                w.$ty(*self);
            }

            fn preset(preset: Preset) -> Self {
                let number = if let Preset::Number(number) = preset { number } else { 0 };
                let preset: fn(i64) -> $ty = $preset;
                preset(number)
            }
        }
    )* };
}

// The truncating casts are of declared defaults only; the definitions test compares them with Kafka's.
fixed! {
    bool Bool 1, |number| number != 0;
    i8 Int8 1, |number| number as i8;
    i16 Int16 2, |number| number as i16;
    u16 Uint16 2, |number| number as u16;
    i32 Int32 4, |number| number as i32;
    i64 Int64 8, |number| number;
    f64 Float64 8, |number| number as f64;
}

impl<'a> Field<'a> for Uuid {
    const TYPE: Type = Type::Uuid;

    fn size_min(_: At) -> usize {
        16
    }

    fn get(r: &mut Reader<'a>, _: At) -> Result<Self, DecodeError> {
        r.uuid()
    }

    fn put(&self, w: &mut Writer, _: At) {
        w.uuid(*self);
    }

    fn preset(_: Preset) -> Self {
        Uuid::ZERO
    }
}

impl<'a> Field<'a> for Cow<'a, str> {
    const TYPE: Type = Type::String;

    fn size_min(at: At) -> usize {
        if at.flexible { 1 } else { 2 }
    }

    fn get(r: &mut Reader<'a>, at: At) -> Result<Self, DecodeError> {
        r.string(at.flexible)?.ok_or(DecodeError::UnexpectedNull)
    }

    fn put(&self, w: &mut Writer, at: At) {
        w.string(at.flexible, Some(self));
    }

    fn preset(_: Preset) -> Self {
        Cow::Borrowed("")
    }
}

impl<'a> Nullable<'a> for Cow<'a, str> {
    fn get_nullable(r: &mut Reader<'a>, at: At) -> Result<Option<Self>, DecodeError> {
        r.string(at.flexible)
    }

    fn put_nullable(value: Option<&Self>, w: &mut Writer, at: At) {
        w.string(at.flexible, value.map(|value| &**value));
    }
}

impl<'a> Field<'a> for Cow<'a, [u8]> {
    const TYPE: Type = Type::Bytes;

    fn size_min(at: At) -> usize {
        if at.flexible { 1 } else { 4 }
    }

    fn get(r: &mut Reader<'a>, at: At) -> Result<Self, DecodeError> {
        r.bytes(at.flexible)?
            .map(Cow::Borrowed)
            .ok_or(DecodeError::UnexpectedNull)
    }

    fn put(&self, w: &mut Writer, at: At) {
        w.bytes(at.flexible, Some(self));
    }

    fn preset(_: Preset) -> Self {
        Cow::Borrowed(&[])
    }
}

impl<'a> Nullable<'a> for Cow<'a, [u8]> {
    fn get_nullable(r: &mut Reader<'a>, at: At) -> Result<Option<Self>, DecodeError> {
        Ok(r.bytes(at.flexible)?.map(Cow::Borrowed))
    }

    fn put_nullable(value: Option<&Self>, w: &mut Writer, at: At) {
        w.bytes(at.flexible, value.map(|value| &**value));
    }
}

/// Record batches inside a message. They are never looked into here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Records<'a> {
    /// Null.
    #[default]
    None,
    /// The bytes: what a read message holds, or what is to be copied into a written one.
    Borrowed(&'a [u8]),
    /// Only the length is written; the bytes go on the wire from where they are (see [`crate::wire::Gap`]).
    Gap(usize),
}

impl<'a> Records<'a> {
    /// The bytes that came with the message; none for null and for gaps.
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Records::Borrowed(bytes) => bytes,
            Records::None | Records::Gap(_) => &[],
        }
    }

    /// How many bytes of records the message has.
    pub fn len(&self) -> usize {
        match self {
            Records::None => 0,
            Records::Borrowed(bytes) => bytes.len(),
            Records::Gap(len) => *len,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> Field<'a> for Records<'a> {
    const TYPE: Type = Type::Records;
    const NULLABLE: bool = true;

    fn size_min(at: At) -> usize {
        if at.flexible { 1 } else { 4 }
    }

    fn get(r: &mut Reader<'a>, at: At) -> Result<Self, DecodeError> {
        match r.bytes(at.flexible)? {
            None if !at.nullable => Err(DecodeError::UnexpectedNull),
            None => Ok(Records::None),
            Some(bytes) => Ok(Records::Borrowed(bytes)),
        }
    }

    fn put(&self, w: &mut Writer, at: At) {
        match *self {
            Records::None if !at.nullable => w.fail(EncodeError::UnexpectedNull(at.version)),
            Records::None => w.bytes(at.flexible, None),
            Records::Borrowed(bytes) => w.bytes(at.flexible, Some(bytes)),
            Records::Gap(len) => w.gap(at.flexible, len),
        }
    }

    fn preset(_: Preset) -> Self {
        Records::None
    }
}

impl<'a, T: Field<'a>> Field<'a> for Vec<T> {
    const TYPE: Type = Type::Array(&T::TYPE);

    fn size_min(at: At) -> usize {
        if at.flexible { 1 } else { 4 }
    }

    fn get(r: &mut Reader<'a>, at: At) -> Result<Self, DecodeError> {
        Self::get_nullable(r, at)?.ok_or(DecodeError::UnexpectedNull)
    }

    fn put(&self, w: &mut Writer, at: At) {
        Self::put_nullable(Some(self), w, at);
    }

    fn preset(_: Preset) -> Self {
        Vec::new()
    }

    fn is_preset(&self, _: Preset) -> bool {
        self.is_empty()
    }
}

impl<'a, T: Field<'a>> Nullable<'a> for Vec<T> {
    fn get_nullable(r: &mut Reader<'a>, at: At) -> Result<Option<Self>, DecodeError> {
        let at = at.element();
        let Some(count) = r.array(at.flexible, T::size_min(at))? else {
            return Ok(None);
        };
        let mut elements = Vec::with_capacity(count.min(ARRAY_RESERVE_MAX));
        for _ in 0..count {
            elements.push(T::get(r, at)?);
        }
        Ok(Some(elements))
    }

    fn put_nullable(value: Option<&Self>, w: &mut Writer, at: At) {
        w.array(at.flexible, value.map(Vec::len));
        for element in value.into_iter().flatten() {
            element.put(w, at.element());
        }
    }
}

impl<'a, T: Nullable<'a>> Field<'a> for Option<T> {
    const TYPE: Type = T::TYPE;
    const NULLABLE: bool = true;

    fn size_min(at: At) -> usize {
        // A null takes one byte in every compact form and for structs; more elsewhere, which arrays need not know.
        if at.nullable { 1 } else { T::size_min(at) }
    }

    fn get(r: &mut Reader<'a>, at: At) -> Result<Self, DecodeError> {
        match at.nullable {
            true => T::get_nullable(r, at),
            false => T::get(r, at).map(Some),
        }
    }

    fn put(&self, w: &mut Writer, at: At) {
        match self {
            _ if at.nullable => T::put_nullable(self.as_ref(), w, at),
            Some(value) => value.put(w, at),
            None => w.fail(EncodeError::UnexpectedNull(at.version)),
        }
    }

    fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Null => None,
            preset => Some(T::preset(preset)),
        }
    }

    fn is_preset(&self, preset: Preset) -> bool {
        match self {
            None => preset == Preset::Null,
            Some(value) => preset != Preset::Null && value.is_preset(preset),
        }
    }
}

/// A nullable struct has a byte in front: -1 for null, 1 for a struct that follows (KIP-893).
pub(crate) fn get_nullable_struct<'a, T: Field<'a>>(
    r: &mut Reader<'a>,
    at: At,
) -> Result<Option<T>, DecodeError> {
    match r.i8()? {
        ..0 => Ok(None),
        0.. => T::get(r, at.element()).map(Some),
    }
}

/// The counterpart of [`get_nullable_struct`].
pub(crate) fn put_nullable_struct<'a, T: Field<'a>>(value: Option<&T>, w: &mut Writer, at: At) {
    match value {
        None => w.i8(-1),
        Some(value) => {
            w.i8(1);
            value.put(w, at.element());
        }
    }
}
