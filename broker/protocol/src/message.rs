//! The `message!` macro: a message is declared once, in the words of Kafka's JSON definitions, and can then be read
//! and written in every version.
//!
//! ```text
//! message! {
//!     /// What it asks for.
//!     pub struct FooRequest<'a>: Request(7), versions "1-4", flexible "3+" {
//!         /// What the name does not say.
//!         name: Option<Str<'a>> = versions("0+").nullable("2+").default_null(),
//!         items: Vec<FooItem<'a>> = versions("1+"),
//!         epoch: i32 = versions("3+").tag(0, "3+").default(-1).ignorable(),
//!     }
//!
//!     pub struct FooItem<'a> { … }
//! }
//! ```
//!
//! The result is a plain struct with `Default` (Kafka's defaults), `read`, `write` and, for a message, `DEFINITION`: the
//! declaration as data, which `tests/definitions.rs` holds against Kafka's own.
//!
//! *Reading* refuses everything that Kafka refuses (a null where there is none, lengths past the end) and bytes left
//! over; a field that the version lacks gets its default; unknown tagged fields are skipped.
//!
//! *Writing* leaves out tagged fields with default values. A field that the version lacks is left out if it is ignorable
//! or has its default; else the writer remembers [`crate::wire::EncodeError::Unrepresentable`], as Kafka throws
//! UnsupportedVersionException, and `Writer::finish` refuses to hand the bytes out.

pub mod definition;
pub mod field;

use std::borrow::Cow;

use crate::wire::{DecodeError, EncodeError, Reader, Writer};
use definition::Definition;
use field::{At, Field};

pub use field::Records;

/// STRING: borrowed from the frame when read.
pub type Str<'a> = Cow<'a, str>;
/// BYTES: borrowed from the frame when read.
pub type Bytes<'a> = Cow<'a, [u8]>;

/// What all messages share. Each has `read`, `write` and `DEFINITION` as its own, too; this is for generic code.
pub trait Message<'a>: Field<'a> + Default + Clone + std::fmt::Debug {
    /// The declaration.
    const DEFINITION: Definition;

    /// Reads a whole body: bytes left over are an error.
    fn read(r: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        let message = Self::read_front(r, version)?;
        r.finish()?;
        Ok(message)
    }

    /// Reads a body and passes over what stands behind it, as Kafka's broker does. Clients rely on that: librdkafka sends
    /// Metadata v13 for all topics with three bytes too many.
    fn read_front(r: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        let Definition {
            versions, flexible, ..
        } = Self::DEFINITION;
        if !versions.contains(version) {
            return Err(DecodeError::UnsupportedVersion(version));
        }
        let at = At {
            version,
            flexible: flexible.contains(version),
            nullable: false,
        };
        Self::get(r, at)
    }

    /// Appends the body. What cannot be written is reported by [`Writer::finish`].
    fn write(&self, w: &mut Writer, version: i16) {
        let Definition {
            versions,
            flexible,
            body,
            ..
        } = Self::DEFINITION;
        if !versions.contains(version) {
            return w.fail(EncodeError::UnsupportedVersion {
                message: body.name,
                version,
            });
        }
        self.put(
            w,
            At {
                version,
                flexible: flexible.contains(version),
                nullable: false,
            },
        );
    }
}

macro_rules! message {
    (
        $(#[$doc:meta])*
        pub struct $name:ident $(<$a:lifetime>)?: $kind:ident($key:literal), versions $versions:literal, flexible $flexible:literal
        { $($fields:tt)* }
        $(
            $(#[$inner_doc:meta])*
            pub struct $inner:ident $(<$inner_a:lifetime>)? { $($inner_fields:tt)* }
        )*
    ) => {
        message!(@struct [$(#[$doc])*] $name [$(<$a>)?] { $($fields)* });
        $( message!(@struct [$(#[$inner_doc])*] $inner [$(<$inner_a>)?] { $($inner_fields)* }); )*

        impl<'a> $crate::message::Message<'a> for $name $(<$a>)? {
            const DEFINITION: $crate::message::definition::Definition = {
                use $crate::message::definition::{Definition, Kind, Type, Versions};
                Definition {
                    kind: Kind::$kind($key),
                    versions: Versions::parse($versions),
                    flexible: Versions::parse($flexible),
                    body: match <Self as $crate::message::field::Field>::TYPE {
                        Type::Struct(body) => body,
                        _ => unreachable!(),
                    },
                }
            };
        }

        impl<'a> $name $(<$a>)? {
            /// The declaration.
            pub const DEFINITION: $crate::message::definition::Definition = <Self as $crate::message::Message>::DEFINITION;

            /// Reads a whole body: bytes left over are an error.
            pub fn read(r: &mut $crate::wire::Reader<'a>, version: i16) -> Result<Self, $crate::wire::DecodeError> {
                $crate::message::Message::read(r, version)
            }

            /// Appends the body. What cannot be written is reported by [`crate::wire::Writer::finish`].
            pub fn write(&self, w: &mut $crate::wire::Writer, version: i16) {
                $crate::message::Message::write(self, w, version);
            }
        }
    };

    (@struct [$(#[$doc:meta])*] $name:ident [$($a:tt)*]
        { $( $(#[$field_doc:meta])* $field:ident: $ty:ty = $spec:expr ),* $(,)? }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name $($a)* {
            $(
                $(#[$field_doc])*
                #[doc = concat!("\n\n`", stringify!($spec), "`")]
                pub $field: $ty,
            )*
        }

        const _: () = {
            use $crate::message::definition::*;
            use $crate::message::field::*;
            use $crate::wire::{DecodeError, EncodeError, Reader, Writer};

            impl $($a)* Default for $name $($a)* {
                fn default() -> Self {
                    Self { $( $field: { const SPEC: Spec = $spec; Field::preset(SPEC.preset) }, )* }
                }
            }

            impl<'a> Field<'a> for $name $($a)* {
                const TYPE: Type = Type::Struct(&StructDefinition {
                    name: stringify!($name),
                    fields: &[$( FieldDefinition::new::<$ty>(stringify!($field), $spec) ),*],
                });

                fn size_min(at: At) -> usize {
                    let mut size = usize::from(at.flexible);
                    $({
                        const SPEC: Spec = $spec;
                        if SPEC.in_line(at.version) {
                            size += <$ty as Field>::size_min(at.field(&SPEC));
                        }
                    })*
                    size
                }

                fn get(r: &mut Reader<'a>, at: At) -> Result<Self, DecodeError> {
                    let mut this = Self::default();
                    $({
                        const SPEC: Spec = $spec;
                        if SPEC.in_line(at.version) {
                            this.$field = Field::get(r, at.field(&SPEC))?;
                        }
                    })*
                    if at.flexible {
                        for _ in 0..r.tag_count()? {
                            let (_tag, mut _value) = r.tagged()?;
                            $({
                                const SPEC: Spec = $spec;
                                if SPEC.has_tag(_tag, at.version) {
                                    this.$field = Field::get(&mut _value, at.field(&SPEC))?;
                                    _value.finish()?;
                                }
                            })*
                        }
                    }
                    Ok(this)
                }

                fn put(&self, w: &mut Writer, at: At) {
                    let mut _tags = 0;
                    $({
                        const SPEC: Spec = $spec;
                        if SPEC.in_line(at.version) {
                            self.$field.put(w, at.field(&SPEC));
                        } else if SPEC.is_tagged(at.version) {
                            _tags += u32::from(!self.$field.is_preset(SPEC.preset));
                        } else if !SPEC.ignorable && !self.$field.is_preset(SPEC.preset) {
                            w.fail(EncodeError::Unrepresentable {
                                message: stringify!($name),
                                field: stringify!($field),
                                version: at.version,
                            });
                        }
                    })*
                    if !at.flexible {
                        return;
                    }
                    w.uvarint(_tags);
                    $({
                        const SPEC: Spec = $spec;
                        if SPEC.is_tagged(at.version) && !self.$field.is_preset(SPEC.preset) {
                            let start = w.len();
                            self.$field.put(w, at.field(&SPEC));
                            w.tag_from(start, SPEC.tag.unwrap_or_default());
                        }
                    })*
                }

                fn preset(_: Preset) -> Self {
                    Self::default()
                }
            }

            impl<'a> Nullable<'a> for $name $($a)* {
                fn get_nullable(r: &mut Reader<'a>, at: At) -> Result<Option<Self>, DecodeError> {
                    get_nullable_struct(r, at)
                }

                fn put_nullable(value: Option<&Self>, w: &mut Writer, at: At) {
                    put_nullable_struct(value, w, at);
                }
            }
        };
    };
}

pub(crate) use message;

#[cfg(test)]
mod tests;
