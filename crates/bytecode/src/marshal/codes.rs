//! The code bytes of the format (`runtime/caml/intext.h`).

pub(super) const MAGIC_SMALL: u32 = 0x8495_A6BE;
pub(super) const MAGIC_BIG: u32 = 0x8495_A6BF;
pub(super) const MAGIC_COMPRESSED: u32 = 0x8495_A6BD;

pub(super) const SMALL_BLOCK: u8 = 0x80;
pub(super) const SMALL_INT: u8 = 0x40;
pub(super) const SMALL_STRING: u8 = 0x20;

pub(super) const INT8: u8 = 0x00;
pub(super) const INT16: u8 = 0x01;
pub(super) const INT32: u8 = 0x02;
pub(super) const INT64: u8 = 0x03;
pub(super) const SHARED8: u8 = 0x04;
pub(super) const SHARED16: u8 = 0x05;
pub(super) const SHARED32: u8 = 0x06;
pub(super) const DOUBLE_ARRAY32_LITTLE: u8 = 0x07;
pub(super) const BLOCK32: u8 = 0x08;
pub(super) const STRING8: u8 = 0x09;
pub(super) const STRING32: u8 = 0x0A;
pub(super) const DOUBLE_BIG: u8 = 0x0B;
pub(super) const DOUBLE_LITTLE: u8 = 0x0C;
pub(super) const DOUBLE_ARRAY8_BIG: u8 = 0x0D;
pub(super) const DOUBLE_ARRAY8_LITTLE: u8 = 0x0E;
pub(super) const DOUBLE_ARRAY32_BIG: u8 = 0x0F;
pub(super) const CODEPOINTER: u8 = 0x10;
pub(super) const INFIXPOINTER: u8 = 0x11;
pub(super) const CUSTOM: u8 = 0x12;
pub(super) const BLOCK64: u8 = 0x13;
pub(super) const SHARED64: u8 = 0x14;
pub(super) const STRING64: u8 = 0x15;
pub(super) const DOUBLE_ARRAY64_BIG: u8 = 0x16;
pub(super) const DOUBLE_ARRAY64_LITTLE: u8 = 0x17;
pub(super) const CUSTOM_LEN: u8 = 0x18;
pub(super) const CUSTOM_FIXED: u8 = 0x19;
