// A short name of some content, to tell whether it is the same as before. Not for security.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace ladarts {

// FNV-1a over 64 bit words, the rest byte by byte.
class Fingerprint {
 public:
  Fingerprint& add(std::span<const std::byte> bytes) {
    size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8) {
      uint64_t word = 0;
      std::memcpy(&word, bytes.data() + i, 8);
      mix(word);
    }
    for (; i < bytes.size(); ++i) mix(uint64_t(bytes[i]));
    mix(bytes.size());
    return *this;
  }
  Fingerprint& add(std::string_view text) { return add(std::as_bytes(std::span(text.data(), text.size()))); }

  std::string str() const { return fmt::format("{:016x}", hash_); }  // 16 hexadecimal digits

 private:
  void mix(uint64_t word) {
    hash_ = (hash_ ^ word) * 0x100000001b3u;
    hash_ ^= hash_ >> 32;
  }
  uint64_t hash_ = 0xcbf29ce484222325u;
};

}  // namespace ladarts
