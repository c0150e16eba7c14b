//===- Pieces.cpp - divides a call into runs of programs ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/Pieces.h"

#include <algorithm>

using namespace mambit;

namespace {

/// Puts segments into the last piece while it has room.
class Packer {
public:
  Packer(std::vector<Piece> &pieces, bool decode, const Capacity &capacity)
      : pieces(pieces), decode(decode), capacity(capacity) {}

  void add(const Segment &segment) {
    if (!open || used.tokens + segment.count > capacity.tokens ||
        used.sequences + 1 > capacity.sequences ||
        used.rows + segment.rows > capacity.rows) {
      pieces.push_back({decode, {}});
      used = {0, 0, 0};
      open = true;
    }
    pieces.back().segments.push_back(segment);
    used.tokens += segment.count;
    used.sequences += 1;
    used.rows += segment.rows;
  }

private:
  std::vector<Piece> &pieces;
  bool decode;
  Capacity capacity;
  bool open = false;
  Capacity used{0, 0, 0};
};

} // namespace

std::vector<Piece> mambit::dividePieces(const std::vector<size_t> &offsets,
                                        mambit_logits which,
                                        const Capacity &prefill,
                                        const Capacity &decode) {
  size_t length = which == MAMBIT_LOGITS_ALL
                      ? std::min(prefill.tokens, prefill.rows)
                      : prefill.tokens;
  size_t sequences = offsets.size() - 1;
  auto segment = [&](size_t sequence, size_t begin, size_t count) {
    size_t rows = which == MAMBIT_LOGITS_ALL ? count : 0;
    if (which == MAMBIT_LOGITS_LAST && begin + count == offsets[sequence + 1])
      rows = 1;
    return Segment{sequence, begin, count, begin + count - rows, rows};
  };

  std::vector<Piece> pieces;
  // Full segments have a piece to themselves; what remains shares.
  std::vector<Segment> rests, singles;
  for (size_t i = 0; i < sequences; ++i) {
    size_t begin = offsets[i], end = offsets[i + 1];
    if (end - begin == 1) {
      singles.push_back(segment(i, begin, 1));
      continue;
    }
    for (; end - begin >= length; begin += length)
      pieces.push_back({false, {segment(i, begin, length)}});
    if (begin != end)
      rests.push_back(segment(i, begin, end - begin));
  }
  Packer packRests(pieces, false, prefill), packSingles(pieces, true, decode);
  for (const Segment &rest : rests)
    packRests.add(rest);
  for (const Segment &single : singles)
    packSingles.add(single);
  return pieces;
}
