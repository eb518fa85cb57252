// What PyTorch's CPU backend is slow at in a small Restormer: the 3x3 depthwise convolution, the gelu gate and the norm over
// few channels, each forward and backward. Tensors are (b, h, w, c), contiguous, of at least 16 channels, bfloat16 (half != 0) or
// float32; parameters and all arithmetic are float32. Plain C functions on pointers: cpu_blocks.py compiles and calls them.

#ifdef __AVX512BW__
#include <immintrin.h>
#endif

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
typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));
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
#ifdef __AVX512BW__  // what the lines below mean, which GCC 12 compiles into halves
  return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16);
#else
  Halves x;
  std::memcpy(&x, p, sizeof x);
  return (Floats)(__builtin_convertvector(x, Words) << 16);
#endif
}
inline void store(float* p, Floats x) { std::memcpy(p, &x, sizeof x); }
inline void store(bf16* p, Floats x) {  // round to nearest, ties to even
  const Words u = (Words)x, rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
#ifdef __AVX512BW__
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16((__m512i)rounded));
#else
  const Halves h = __builtin_convertvector(rounded, Halves);
  std::memcpy(p, &h, sizeof h);
#endif
}
inline float total(Floats x) {
  float sum = 0.f;
  for (int64_t j = 0; j < kLanes; j++) sum += x[j];
  return sum;
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
  for (int64_t j = 0; j < skip; j++) x[j] = 0.f;
  return x;
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

// sums[size] = what body(begin, end, sums) adds up over `items`. The parts and their order are fixed, however many threads there
// are, so that a run repeats to the bit.
constexpr int64_t kParts = 16;
template <typename F>
inline void parallel_sum(int64_t items, int64_t size, float* sums, F&& body) {
  std::vector<float> parts(kParts * size, 0.f);
  parallel_for(kParts, [&](int64_t part) {
    body(items * part / kParts, items * (part + 1) / kParts, parts.data() + part * size);
  });
  std::fill(sums, sums + size, 0.f);
  for (int64_t i = 0; i < kParts * size; i++) sums[i % size] += parts[i];
}

// The rows y - 1, y and y + 1 of one photo; `zeros` stands for those outside.
template <typename T>
struct Rows {
  const T* row[3];
  Rows(const T* x, int64_t index, int64_t h, int64_t stride, const T* zeros) {
    for (int dy = 0; dy < 3; dy++) {
      const int64_t y = index % h + dy - 1;
      row[dy] = y >= 0 && y < h ? x + (index + dy - 1) * stride : zeros;
    }
  }
};

// body(Int<n>, first pixel) over a row of w pixels: n of them at once, which share the neighbours that they have in common.
template <int64_t N>
using Int = std::integral_constant<int64_t, N>;
constexpr int64_t kStrip = 2;
template <typename F>
inline void for_strips(int64_t w, F&& body) {
  int64_t x = 0;
  for (; x + kStrip <= w; x += kStrip) body(Int<kStrip>(), x);
  for (; x < w; x++) body(Int<1>(), x);
}

// The three rows around pixels x to x + n - 1, and the column on either side.
template <int64_t n, typename T>
struct Columns {
  const T* at[3][n + 2];
  Columns(const Rows<T>& rows, int64_t x, int64_t w, int64_t c, const T* zeros) {
    for (int dy = 0; dy < 3; dy++)
      for (int64_t i = 0; i < n + 2; i++) at[dy][i] = x + i > 0 && x + i <= w ? rows.row[dy] + (x + i - 1) * c : zeros;
  }
};

// exp(x) for x <= 0: a power of 2 times a polynomial in the remainder; relative error below 3e-7.
inline Floats exp_of_negative(Floats x) {
  const Floats t = (x < -87.f ? x * 0.f - 87.f : x) * 1.44269504f;
  const Ints n = __builtin_convertvector(t - .5f, Ints);
  const Floats r = (t - __builtin_convertvector(n, Floats)) * .69314718f;
  const Floats p = 1.f + r * (1.f + r * (.5f + r * (.16666667f + r * (.041666667f + r * (.0083333333f + r * .0013888889f)))));
  return p * (Floats)((n + 127) << 23);
}

// The normal distribution, by Abramowitz and Stegun 7.1.26 (error below 1e-7); cdf and density share one exp.
inline void normal(Floats x, Floats& cdf, Floats& density) {
  const Floats e = exp_of_negative(-.5f * x * x);
  const Floats t = 1.f / (1.f + .23164189f * (x < 0.f ? -x : x));
  const Floats p = t * (.254829592f + t * (-.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
  const Floats tail = .5f * p * e;
  cdf = x < 0.f ? tail : 1.f - tail;
  density = .39894228f * e;
}

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

}  // namespace

extern "C" {

// out = x convolved with weight (9, c), zeros around.
void depthwise(int64_t half, const void* x, const float* weight, void* out, int64_t b, int64_t h, int64_t w, int64_t c) {
  dispatch(half, [&]<typename T>(T) {
    const std::vector<T> zeros(w * c, T{});
    parallel_for(b * h, [&](int64_t y) {
      const Rows<T> rows((const T*)x, y, h, w * c, zeros.data());
      for_strips(w, [&](auto n, int64_t start) {
        const Columns<n, T> columns(rows, start, w, c, zeros.data());
        T* to = (T*)out + (y * w + start) * c;
        for_blocks(c, [&](int64_t at, int64_t) {
          Floats sum[n] = {};
          for (int dy = 0; dy < 3; dy++) {
            Floats taps[3];
            for (int dx = 0; dx < 3; dx++) taps[dx] = load(weight + (3 * dy + dx) * c + at);
            for (int64_t i = 0; i < n + 2; i++) {
              const Floats value = load(columns.at[dy][i] + at);
              for (int dx = 0; dx < 3; dx++)
                if (i >= dx && i - dx < n) sum[i - dx] += value * taps[dx];
            }
          }
          for (int64_t i = 0; i < n; i++) store(to + i * c + at, sum[i]);
        });
      });
    });
  });
}

// weight_grad (9, c): for each of the nine shifts, the sum over all pixels of shifted x times grad.
void depthwise_weight_grad(int64_t half, const void* x, const void* grad, float* weight_grad, int64_t b, int64_t h, int64_t w, int64_t c) {
  dispatch(half, [&]<typename T>(T) {
    const std::vector<T> zeros(w * c, T{});
    parallel_sum(b * h, 9 * c, weight_grad, [&](int64_t first, int64_t last, float* sums) {
      for (int64_t y = first; y < last; y++) {
        const Rows<T> rows((const T*)x, y, h, w * c, zeros.data());
        for_strips(w, [&](auto n, int64_t start) {
          const Columns<n, T> columns(rows, start, w, c, zeros.data());
          const T* g = (const T*)grad + (y * w + start) * c;
          for_blocks(c, [&](int64_t at, int64_t skip) {
            Floats slope[n];
            for (int64_t i = 0; i < n; i++) slope[i] = without(load(g + i * c + at), skip);
            for (int dy = 0; dy < 3; dy++) {
              Floats sum[3];
              for (int dx = 0; dx < 3; dx++) sum[dx] = load(sums + (3 * dy + dx) * c + at);
              for (int64_t i = 0; i < n + 2; i++) {
                const Floats value = load(columns.at[dy][i] + at);
                for (int dx = 0; dx < 3; dx++)
                  if (i >= dx && i - dx < n) sum[dx] += value * slope[i - dx];
              }
              for (int dx = 0; dx < 3; dx++) store(sums + (3 * dy + dx) * c + at, sum[dx]);
            }
          });
        });
      }
    });
  });
}

// x (pixels, 2c) -> out (pixels, c) = gelu(first half) * second half.
void gate(int64_t half, const void* x, void* out, int64_t pixels, int64_t c) {
  dispatch(half, [&]<typename T>(T) {
    parallel_for(pixels, [&](int64_t i) {
      for_blocks(c, [&](int64_t at, int64_t) {
        const T* from = (const T*)x + 2 * c * i + at;
        const Floats a = load(from);
        Floats cdf, density;
        normal(a, cdf, density);
        store((T*)out + c * i + at, a * cdf * load(from + c));
      });
    });
  });
}

void gate_grad(int64_t half, const void* x, const void* grad, void* out, int64_t pixels, int64_t c) {
  dispatch(half, [&]<typename T>(T) {
    parallel_for(pixels, [&](int64_t i) {
      for_blocks(c, [&](int64_t at, int64_t) {
        const T* from = (const T*)x + 2 * c * i + at;
        T* to = (T*)out + 2 * c * i + at;
        const Floats a = load(from), g = load((const T*)grad + c * i + at);
        Floats cdf, density;
        normal(a, cdf, density);
        store(to, g * load(from + c) * (cdf + a * density));
        store(to + c, g * a * cdf);
      });
    });
  });
}

// out = (x - mean) / sqrt(variance + eps) * weight + bias over the channels of each pixel.
void layer_norm(int64_t half, const void* x, const float* weight, const float* bias, void* out, int64_t pixels, int64_t c, double eps) {
  dispatch(half, [&]<typename T>(T) {
    parallel_for(pixels, [&](int64_t i) {
      const T* from = (const T*)x + i * c;
      const Moments m = moments(from, c, eps);
      for_blocks(c, [&](int64_t at, int64_t) {
        store((T*)out + i * c + at, (load(from + at) - m.mean) * m.scale * load(weight + at) + load(bias + at));
      });
    });
  });
}

// The gradient of x, and those of weight and bias as (2, c).
void layer_norm_grad(int64_t half, const void* x, const float* weight, const void* grad, void* out, float* parameter_grad,
                     int64_t pixels, int64_t c, double eps) {
  dispatch(half, [&]<typename T>(T) {
    parallel_sum(pixels, 2 * c, parameter_grad, [&](int64_t first, int64_t last, float* sums) {
      for (int64_t i = first; i < last; i++) {
        const T *xi = (const T*)x + i * c, *gi = (const T*)grad + i * c;
        T* to = (T*)out + i * c;
        const Moments m = moments(xi, c, eps);
        Floats level = {}, along = {};
        for_blocks(c, [&](int64_t at, int64_t skip) {
          const Floats g = without(load(gi + at), skip), xhat = (load(xi + at) - m.mean) * m.scale;
          store(sums + at, load(sums + at) + g * xhat);
          store(sums + c + at, load(sums + c + at) + g);
          level += g * load(weight + at);
          along += g * load(weight + at) * xhat;
        });
        const float mean_level = total(level) / c, mean_along = total(along) / c;
        for_blocks(c, [&](int64_t at, int64_t) {
          const Floats xhat = (load(xi + at) - m.mean) * m.scale;
          store(to + at, m.scale * (load(gi + at) * load(weight + at) - mean_level - xhat * mean_along));
        });
      }
    });
  });
}

}  // extern "C"
