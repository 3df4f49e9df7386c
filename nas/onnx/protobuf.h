// Writes the wire format of Protocol Buffers, as far as ONNX files need it: a message is a sequence of
// fields, each its number and kind followed by a varint, four bytes, or a length and as many bytes.
// https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace ladarts::onnx {

class Message {
 public:
  void integer(int field, int64_t value) {
    key(field, 0);
    varint(uint64_t(value));
  }
  void text(int field, std::string_view value) {
    key(field, 2);
    varint(value.size());
    bytes_.append(value);
  }
  // A float field, four bytes.
  void real(int field, float value) {
    key(field, 5);
    raw(&value, sizeof value);
  }
  void message(int field, const Message& value) { text(field, value.bytes_); }
  // Little-endian memory as a field of bytes.
  template <class T>
  void data(int field, std::span<const T> values) {
    text(field, {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
  }

  const std::string& bytes() const { return bytes_; }

 private:
  void key(int field, unsigned kind) { varint(uint64_t(field) << 3 | kind); }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += char(value | 0x80);
    bytes_ += char(value);
  }
  void raw(const void* data, size_t size) { bytes_.append(static_cast<const char*>(data), size); }

  std::string bytes_;
};

}  // namespace ladarts::onnx
