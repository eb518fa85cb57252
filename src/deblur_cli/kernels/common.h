// What our loops are made of: vectors, blocks of channels, the convolution along a row, the normal distribution, the norm of a pixel.

#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace {

#ifdef __AVX512F__
constexpr int64_t kLanes = 16;
#else  // one register of AVX2: with two a vector the sums of the nine taps do not fit into the sixteen there are
constexpr int64_t kLanes = 8;
#endif
typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));

struct bf16 {
  uint16_t bits;
};

inline Floats load(const float* p) {
  Floats x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline Floats load(const bf16* p) {
#ifdef __AVX512BW__
  return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16);
#else
  return (Floats)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16);
#endif
}
inline void store(float* p, Floats x) { std::memcpy(p, &x, sizeof x); }
inline void store(bf16* p, Floats x) {  // round to nearest, ties to even
#ifdef __AVX512BF16__
  _mm256_storeu_si256((__m256i*)p, (__m256i)_mm512_cvtneps_pbh((__m512)x));
#else
  const Words u = (Words)x, rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
#ifdef __AVX512BW__
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16((__m512i)rounded));
#else
  const __m256i words = (__m256i)rounded;
  _mm_storeu_si128((__m128i*)p, _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
#endif
#endif
}
#ifdef __AVX512BF16__
// Two numbers side by side, which AVX512-BF16 multiplies by two others and adds up at once.
struct Pair {
  bf16 first, second;
};
typedef int32_t Pairs __attribute__((vector_size(64)));
inline Pairs load(const Pair* p) {
  Pairs x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline void store(Pair* p, Floats first, Floats second) {
  static const struct Order {
    uint16_t at[32];
    constexpr Order() : at() {
      for (int i = 0; i < 32; i++) at[i] = i / 2 + i % 2 * 16;
    }
  } order;
  const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
  _mm512_storeu_si512(p, _mm512_permutexvar_epi16(_mm512_loadu_si512(order.at), both));
}
inline void add_product(Floats& sum, Pairs x, Pairs y) { sum = (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)y); }
inline void add_product(Floats& sum, Pair x, Pairs y) {
  int32_t both;
  std::memcpy(&both, &x, sizeof both);
  add_product(sum, Pairs{} + both, y);
}
#endif
inline void add_product(Floats& sum, float x, Floats y) { sum += x * y; }
inline float total(Floats x) {
#ifdef __AVX512F__
  return _mm512_reduce_add_ps((__m512)x);
#else
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
#endif
}

// Blocks of kLanes channels. The last one is moved back to end at c; `skip` of its lanes were in the block before it.
template <typename F>
inline void for_blocks(int64_t c, F&& body) {
  for (int64_t at = 0; at < c; at += kLanes) {
    const int64_t start = std::min(at, c - kLanes);
    body(start, at - start);
  }
}
inline Floats without(Floats x, int64_t skip) {
  Ints lane;
  for (int64_t j = 0; j < kLanes; j++) lane[j] = j;
  return lane < (int32_t)skip ? Floats{} : x;
}

// body(bf16{}) or body(float{})
template <typename F>
inline void dispatch(int64_t half, F&& body) {
  if (half)
    body(bf16{});
  else
    body(float{});
}

template <typename F>
inline void parallel_for(int64_t count, F&& body) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; i++) body(i);
}

// The rows above, at and below row `index` of photos of h rows. Rows outside a photo count as zeros, unless `halo`: then there is one
// of them above the first and one below the last.
template <typename T>
struct Above {
  const T* row[3];  // null: zeros
  Above() = default;
  Above(const T* x, int64_t index, int64_t h, int64_t stride, bool halo) {
    for (int dy = 0; dy < 3; dy++) {
      const int64_t y = index % h + dy - 1;
      row[dy] = halo || (y >= 0 && y < h) ? x + (index + dy - 1) * stride : nullptr;
    }
  }
  Above at(int64_t channel) const {
    Above moved;
    for (int dy = 0; dy < 3; dy++) moved.row[dy] = row[dy] ? row[dy] + channel : nullptr;
    return moved;
  }
};

// A 3x3 convolution of one block of channels along the pixels first to end - 1 of a row of w, which lie `step` numbers apart: emit(pixel,
// sum). Each pixel of the three rows is loaded once; three sums are under way at any time.
template <typename T, typename F>
inline void slide(const Above<T>& rows, int64_t first, int64_t end, int64_t w, int64_t step, const float* weight, int64_t weight_step, const float* bias, F&& emit) {
  static const T zeros[kLanes] = {};
  Floats taps[9];
  for (int i = 0; i < 9; i++) taps[i] = load(weight + i * weight_step);
  const Floats start = bias ? load(bias) : Floats{};
  const T* from[3];
  int64_t steps[3];
  for (int dy = 0; dy < 3; dy++) {
    from[dy] = rows.row[dy] ? rows.row[dy] : zeros;
    steps[dy] = rows.row[dy] ? step : 0;
  }
  Floats left = start, middle = start, right = start;  // the sums of pixels x - 1, x and x + 1
  const auto take = [&](int64_t x) {
    for (int dy = 0; dy < 3; dy++) {
      const Floats value = load(from[dy] + x * steps[dy]);
      left += value * taps[3 * dy + 2];
      middle += value * taps[3 * dy + 1];
      right += value * taps[3 * dy];
    }
  };
  const auto move = [&] {
    left = middle;
    middle = right;
    right = start;
  };
  if (first) take(first - 1);
  move();
  take(first);
  move();
  for (int64_t x = first + 1; x < end; x++) {
    take(x);
    emit(x - 1, left);
    move();
  }
  if (end < w) take(end);
  emit(end - 1, left);
}

// The normal distribution alone: an odd rational function of x, fitted to errors below 1e-7, beyond which the sum with .5 rounds.
inline Floats normal(Floats x) {
  const Floats edge = Floats{} + 5.5f, z = x < -edge ? -edge : (x > edge ? edge : x), u = z * z;
  const Floats p = .39894199f + u * (.035142138f + u * (.0047616048f + u * (.00018285618f + u * (6.5307196e-6f + u * 2.221605e-8f))));
  const Floats q = 1.f + u * (.25475186f + u * (.029398585f + u * (.0019624235f + u * (7.860959e-5f + u * 1.1953999e-6f))));
  return .5f + z * p / q;
}
#ifdef __AVX512BF16__
// The same to 5e-5, which is much less than bfloat16 keeps of the result, in half the time.
inline Floats normal_near(Floats x) {
  const Floats edge = Floats{} + 4.2f, z = (Floats)_mm512_max_ps((__m512)-edge, _mm512_min_ps((__m512)edge, (__m512)x)), u = z * z;
  const Floats p = .39884925f + u * (.03544883f + u * .0026978296f), q = 1.f + u * (.25471437f + u * (.02499607f + u * .00043441344f));
  return .5f + z * p * (Floats)_mm512_rcp14_ps((__m512)q);
}
#endif

struct Moments {
  float mean, scale;  // scale: 1 / sqrt(variance + eps)
};
template <typename T>
inline Moments moments(const T* x, int64_t c, float eps) {
  Floats sum = {}, squares = {};
  for_blocks(c, [&](int64_t at, int64_t skip) { sum += without(load(x + at), skip); });
  const float mean = total(sum) / c;
  for_blocks(c, [&](int64_t at, int64_t skip) {
    const Floats centred = without(load(x + at) - mean, skip);
    squares += centred * centred;
  });
  return {mean, 1.f / sqrtf(total(squares) / c + eps)};
}
#ifdef __AVX512BF16__
// By dot products, as the mean of the squares less the square of the mean: numbers of bfloat16 that are near their mean have too few
// digits themselves for that to lose any.
inline Moments moments(const bf16* x, int64_t c, float eps) {
  Floats sum = {}, squares = {};
  for (int64_t at = 0; at < c; at += 2 * kLanes) {
    const Pairs value = (Pairs)_mm512_maskz_loadu_epi16(c - at < 2 * kLanes ? (1u << (c - at)) - 1 : ~0u, x + at);
    add_product(sum, value, Pairs{} + 0x3f803f80);  // ones
    add_product(squares, value, value);
  }
  const float mean = total(sum) / c, variance = total(squares) / c - mean * mean;
  return {mean, 1.f / sqrtf((variance < 0.f ? 0.f : variance) + eps)};
}
#endif

// out = (x - mean) / sqrt(variance + eps) * weight + bias over the channels of a pixel; without weight and bias, x / sqrt(variance + eps).
template <typename T>
inline void norm_pixel(const T* x, const float* weight, const float* bias, T* out, int64_t c, float eps) {
  const Moments m = moments(x, c, eps);
  for_blocks(c, [&](int64_t at, int64_t) {
    const Floats value = load(x + at);
    store(out + at, weight ? (value - m.mean) * m.scale * load(weight + at) + load(bias + at) : value * m.scale);
  });
}

}  // namespace
