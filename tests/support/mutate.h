// Damaged files for robustness tests.
#pragma once

#include <fstream>
#include <string>

#include "core/philox.h"

namespace ladarts {

// Flips bits, overwrites, inserts, repeats, deletes or truncates at up to four places.
inline std::string mutate(std::string bytes, Random& random) {
  const auto place = [&] { return size_t(random.below(uint32_t(bytes.size() + 1))); };
  for (uint32_t i = 1 + random.below(4); i > 0; --i) {
    const size_t at = place();
    const size_t length = std::min<size_t>(1 + random.below(16), bytes.size() - at);
    switch (random.below(6)) {
      case 0:
        if (at < bytes.size()) bytes[at] = char(bytes[at] ^ (1u << random.below(8)));
        break;
      case 1:
        if (at < bytes.size()) bytes[at] = "0123456789-\"[]{},:\0\xff"[random.below(20)];
        break;
      case 2:
        bytes.insert(at, 1 + random.below(8), char(random.bits()));
        break;
      case 3:
        bytes.insert(at, bytes.substr(place(), length));
        break;
      case 4:
        bytes.erase(at, length);
        break;
      default:
        bytes.resize(at);
    }
  }
  return bytes;
}

inline void write_plain(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace ladarts
