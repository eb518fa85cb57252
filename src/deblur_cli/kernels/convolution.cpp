// The 3x3 convolution of all channels with all, in a quarter of the multiplications: Winograd's F(4x4, 3x3), after Lavin and Gray, "Fast algorithms for
// convolutional neural networks", 2016. Tensors are (..., h, w, c), contiguous, float32; channels are multiples of 8. Four by four pixels of the result
// are a tile: 36 numbers of each channel in, mixed among the channels by 36 matrices, and 16 numbers out.

#include "common.h"

namespace {

typedef float Eight __attribute__((vector_size(32)));
inline Eight load_eight(const float* p) {
  Eight x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline void store_eight(float* p, Eight x) { std::memcpy(p, &x, sizeof x); }

constexpr int64_t kTile = 4, kSeen = 6, kMixed = kSeen * kSeen;
constexpr int64_t kTiles = 24;  // that are mixed at once: by 4 or by 6 of them
constexpr int64_t kApart = 16;  // numbers between the parts of a buffer, so that they do not fall onto the same lines of a cache

// One dimension of the way in, six numbers to six, and of the way out, six to four.
inline void transform_in(const Eight* d, Eight* to, int64_t step) {
  const Eight even = d[4] - 4.f * d[2], odd = d[3] - 4.f * d[1], inner = d[4] - d[2], outer = 2.f * (d[3] - d[1]);
  to[0] = 4.f * d[0] - 5.f * d[2] + d[4];
  to[step] = even + odd;
  to[2 * step] = even - odd;
  to[3 * step] = inner + outer;
  to[4 * step] = inner - outer;
  to[5 * step] = 4.f * d[1] - 5.f * d[3] + d[5];
}
inline void transform_out(const Eight* m, Eight* to, int64_t step) {
  const Eight sum = m[1] + m[2], apart = m[1] - m[2], sums = m[3] + m[4], aparts = m[3] - m[4];
  to[0] = m[0] + sum + sums;
  to[step] = apart + 2.f * aparts;
  to[2 * step] = sum + 4.f * sums;
  to[3 * step] = apart + 8.f * aparts + m[5];
}

// Six by six pixels of c channels, `row` and `column` numbers apart -> 36 parts of `part` numbers, one pixel's channels in each.
inline void take_in(const float* from, int64_t row, int64_t column, int64_t c, float* to, int64_t part) {
  for (int64_t at = 0; at < c; at += 8) {
    Eight half_way[kMixed], line[kSeen];
    for (int64_t x = 0; x < kSeen; x++) {
      for (int64_t y = 0; y < kSeen; y++) line[y] = load_eight(from + y * row + x * column + at);
      transform_in(line, half_way + x, kSeen);
    }
    for (int64_t y = 0; y < kSeen; y++) {
      transform_in(half_way + y * kSeen, line, 1);
      for (int64_t x = 0; x < kSeen; x++) store_eight(to + (y * kSeen + x) * part + at, line[x]);
    }
  }
}

// kTiles rows of c numbers times a matrix (c, 8 blocks) -> kTiles rows of 8 blocks numbers.
template <int blocks, int rows>
inline void mix(const float* from, const float* matrix, float* to, int64_t c) {
  for (int64_t t = 0; t < kTiles; t += rows) {
    Eight sums[rows][blocks] = {};
    const float* row = from + t * c;
    for (int64_t k = 0; k < c; k++) {
      Eight weights[blocks];
      for (int j = 0; j < blocks; j++) weights[j] = load_eight(matrix + (k * blocks + j) * 8);
      for (int i = 0; i < rows; i++)
        for (int j = 0; j < blocks; j++) sums[i][j] += row[i * c + k] * weights[j];
    }
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < blocks; j++) store_eight(to + ((t + i) * blocks + j) * 8, sums[i][j]);
  }
}

// What lies around a tile, and where its result belongs.
struct Place {
  int64_t photo, y, x;
};

struct Photos {
  const float *x, *bias, *more;
  float* out;
  int64_t h, w, c, n;
  bool positive;

  // Six by six pixels around a tile, zeros outside the photo.
  void take(const Place& place, float* patch, float* to, int64_t part) const {
    const int64_t top = place.y - 1, left = place.x - 1;
    const float* photo = x + place.photo * h * w * c;
    if (top >= 0 && left >= 0 && top + kSeen <= h && left + kSeen <= w) return take_in(photo + (top * w + left) * c, w * c, c, c, to, part);
    std::fill(patch, patch + kMixed * c, 0.f);
    for (int64_t y = std::max<int64_t>(0, -top); y < std::min(kSeen, h - top); y++) {
      const int64_t first = std::max<int64_t>(0, -left), end = std::min(kSeen, w - left);
      std::memcpy(patch + (y * kSeen + first) * c, photo + ((top + y) * w + left + first) * c, (end - first) * c * sizeof(float));
    }
    take_in(patch, kSeen * c, c, c, to, part);
  }

  // Eight channels of a tile, from 36 parts.
  void give(const Place& place, const float* from, int64_t part, int64_t channel) const {
    Eight half_way[kTile * kSeen], line[kSeen], result[kTile];
    for (int64_t x = 0; x < kSeen; x++) {
      for (int64_t y = 0; y < kSeen; y++) line[y] = load_eight(from + (y * kSeen + x) * part);
      transform_out(line, half_way + x, kSeen);
    }
    const Eight start = load_eight(bias + channel);
    for (int64_t y = 0; y < std::min(kTile, h - place.y); y++) {
      transform_out(half_way + y * kSeen, result, 1);
      const int64_t at = ((place.photo * h + place.y + y) * w + place.x) * n + channel;
      for (int64_t x = 0; x < std::min(kTile, w - place.x); x++) {
        Eight value = result[x] + start;
        if (more) value += load_eight(more + at + x * n);
        if (positive) value = value > 0.f ? value : Eight{};
        store_eight(out + at + x * n, value);
      }
    }
  }
};

// Channels of the result that are mixed at once: 24 as long as no 8 are left over, then 16.
inline int64_t together(int64_t left) { return left == 24 || left >= 40 ? 24 : 16; }

}  // namespace

extern "C" {

// out (b, h, w, n) = x (b, h, w, c) convolved, zeros around, + bias (n) + more (b, h, w, n) or null, and what is negative 0 if `positive`. matrices: for
// each 24 or 16 of the n channels, as of `together`, (36, c, channels).
void convolve(const float* x, const float* matrices, const float* bias, const float* more, float* out, int64_t b, int64_t h, int64_t w, int64_t c, int64_t n,
              int64_t positive) {
  const Photos photos{x, bias, more, out, h, w, c, n, positive != 0};
  const int64_t down = (h + kTile - 1) / kTile, across = (w + kTile - 1) / kTile, tiles = b * down * across;
  const auto place_of = [&](int64_t tile) { return Place{tile / (down * across), tile / across % down * kTile, tile % across * kTile}; };
  parallel_for((tiles + kTiles - 1) / kTiles, [&](int64_t chunk) {
    static thread_local std::vector<float> room;
    const int64_t part = kTiles * c + kApart, most = kTiles * 24 + kApart;
    if ((int64_t)room.size() < kMixed * (part + most + c)) room.resize(kMixed * (part + most + c));
    float *seen = room.data(), *mixed = seen + kMixed * part, *patch = mixed + kMixed * most;
    const int64_t first = chunk * kTiles, count = std::min(kTiles, tiles - first);
    for (int64_t t = 0; t < count; t++) photos.take(place_of(first + t), patch, seen + t * c, part);
    const float* matrix = matrices;
    for (int64_t channel = 0; channel < n;) {
      const int64_t some = together(n - channel), apart = kTiles * some + kApart;
      for (int64_t i = 0; i < kMixed; i++, matrix += c * some) {
        if (some == 24)
          mix<3, 4>(seen + i * part, matrix, mixed + i * apart, c);
        else
          mix<2, 6>(seen + i * part, matrix, mixed + i * apart, c);
      }
      for (int64_t t = 0; t < count; t++)
        for (int64_t at = 0; at < some; at += 8) photos.give(place_of(first + t), mixed + t * some + at, apart, channel + at);
      channel += some;
    }
  });
}

}  // extern "C"
