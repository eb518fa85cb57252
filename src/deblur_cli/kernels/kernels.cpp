// What PyTorch's CPU backend is slow at in a Restormer: the 3x3 depthwise convolution, the gelu gate and the norm over the channels,
// forward for restoring and training, backward for training. Tensors are (..., h, w, c), contiguous, of at least 16 channels,
// bfloat16 (half != 0) or float32; parameters and all arithmetic are float32. Plain C functions on pointers, which __init__.py
// calls; build.py compiles this file once for each kind of processor. Threads are those of torch: nothing here links OpenMP.

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

// body(first row, end row, first pixel, end pixel), for all of h rows and of the columns left to right - 1, in parallel, in pieces
// so narrow that the first cache holds three of their rows, and so low that there is something to do for many threads.
constexpr int64_t kColumns = 32, kRows = 8;
template <typename F>
inline void parallel_pieces(int64_t h, int64_t left, int64_t right, F&& body) {
  const int64_t levels = (h + kRows - 1) / kRows, strips = (right - left + kColumns - 1) / kColumns;
  parallel_for(levels * strips, [&](int64_t i) {
    const int64_t y = i % levels * kRows, x = left + i / levels * kColumns;
    body(y, std::min(y + kRows, h), x, std::min(x + kColumns, right));
  });
}

// Ask for the numbers of a row that the next one of a piece will need: they lie too far apart for the processor to guess it.
template <typename T>
inline void expect(const T* first, const T* end) {
  for (const char* at = (const char*)first; at < (const char*)end; at += 64) __builtin_prefetch(at);
}

// The rows above, at and below row `index` of photos of h rows. Rows outside a photo count as zeros, unless `halo`: then there is one
// of them above the first and one below the last.
template <typename T>
struct Above {
  const T* row[3];  // null: zeros
  Above(const T* x, int64_t index, int64_t h, int64_t stride, bool halo) {
    for (int dy = 0; dy < 3; dy++) {
      const int64_t y = index % h + dy - 1;
      row[dy] = halo || (y >= 0 && y < h) ? x + (index + dy - 1) * stride : nullptr;
    }
  }
};

// A 3x3 convolution of one block of channels, at `at`, along the pixels first to end - 1 of a row of w: emit(pixel, sum). Each pixel
// of the three rows is loaded once; three sums are under way at any time.
template <typename T, typename F>
inline void slide(const Above<T>& rows, int64_t first, int64_t end, int64_t w, int64_t c, int64_t at, const float* weight, const float* bias, F&& emit) {
  static const T zeros[kLanes] = {};
  Floats taps[9];
  for (int i = 0; i < 9; i++) taps[i] = load(weight + i * c + at);
  const Floats start = bias ? load(bias + at) : Floats{};
  const T* from[3];
  int64_t step[3];
  for (int dy = 0; dy < 3; dy++) {
    from[dy] = rows.row[dy] ? rows.row[dy] + at : zeros;
    step[dy] = rows.row[dy] ? c : 0;
  }
  Floats left = start, middle = start, right = start;  // the sums of pixels x - 1, x and x + 1
  const auto take = [&](int64_t x) {
    for (int dy = 0; dy < 3; dy++) {
      const Floats value = load(from[dy] + x * step[dy]);
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

// The normal distribution alone: an odd rational function of x, fitted to errors below 1e-7, beyond which the sum with .5 rounds.
inline Floats normal(Floats x) {
  const Floats edge = Floats{} + 5.5f, z = x < -edge ? -edge : (x > edge ? edge : x), u = z * z;
  const Floats p = .39894199f + u * (.035142138f + u * (.0047616048f + u * (.00018285618f + u * (6.5307196e-6f + u * 2.221605e-8f))));
  const Floats q = 1.f + u * (.25475186f + u * (.029398585f + u * (.0019624235f + u * (7.860959e-5f + u * 1.1953999e-6f))));
  return .5f + z * p / q;
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

// out (b, h, right - left, c) = columns left to right - 1 of x (b, h, w, c) convolved with weight (9, c), plus bias (c) or null; zeros
// around. With `halo`, there is one photo, and x has a row more above and below.
void depthwise(int64_t half, const void* x, const float* weight, const float* bias, void* out, int64_t b, int64_t h, int64_t w, int64_t c,
               int64_t halo, int64_t left, int64_t right) {
  dispatch(half, [&]<typename T>(T) {
    const T* from = (const T*)x + halo * w * c;
    parallel_pieces(b * h, left, right, [&](int64_t top, int64_t bottom, int64_t first, int64_t end) {
      for (int64_t y = top; y < bottom; y++) {
        const Above<T> rows(from, y, h, w * c, halo);
        if (y + 1 < bottom) expect(from + ((y + 2) * w + first) * c, from + ((y + 2) * w + end) * c);
        for_blocks(c, [&](int64_t at, int64_t) {
          T* to = (T*)out + (y * (right - left) - left) * c + at;
          slide(rows, first, end, w, c, at, weight, bias, [&](int64_t i, Floats sum) { store(to + i * c, sum); });
        });
      }
    });
  });
}

// out (h, w, c) = gelu(gate convolved) * (value convolved), both (h + 2, w, c), with weights (9, c) and biases (c) or null.
void gated(int64_t half, const void* gate, const void* value, const float* gate_weight, const float* value_weight, const float* gate_bias,
           const float* value_bias, void* out, int64_t h, int64_t w, int64_t c) {
  dispatch(half, [&]<typename T>(T) {
    const T *from = (const T*)gate + w * c, *other = (const T*)value + w * c;
    parallel_pieces(h, 0, w, [&](int64_t top, int64_t bottom, int64_t first, int64_t end) {
      for (int64_t y = top; y < bottom; y++) {
        const Above<T> gates(from, y, h, w * c, true), values(other, y, h, w * c, true);
        if (y + 1 < bottom)
          for (const T* next : {from, other}) expect(next + ((y + 2) * w + first) * c, next + ((y + 2) * w + end) * c);
        for_blocks(c, [&](int64_t at, int64_t) {
          T* to = (T*)out + y * w * c + at;
          Floats open[kColumns];
          slide(gates, first, end, w, c, at, gate_weight, gate_bias, [&](int64_t i, Floats sum) { open[i - first] = sum; });
          for (int64_t i = 0; i < end - first; i++) open[i] *= normal(open[i]);
          slide(values, first, end, w, c, at, value_weight, value_bias,
                [&](int64_t i, Floats sum) { store(to + i * c, open[i - first] * sum); });
        });
      }
    });
  });
}

// sums (c) = of the squares of x (pixels, c).
void squares(int64_t half, const void* x, float* sums, int64_t pixels, int64_t c) {
  dispatch(half, [&]<typename T>(T) {
    parallel_sum(pixels, c, sums, [&](int64_t first, int64_t end, float* sums) {
      for_blocks(c, [&](int64_t at, int64_t skip) {
        Floats sum[4] = {};
        int64_t i = first;
        for (; i + 4 <= end; i += 4)
          for (int64_t j = 0; j < 4; j++) {
            const Floats value = load((const T*)x + (i + j) * c + at);
            sum[j] += value * value;
          }
        for (; i < end; i++) {
          const Floats value = load((const T*)x + i * c + at);
          sum[0] += value * value;
        }
        store(sums + at, load(sums + at) + without(sum[0] + sum[1] + (sum[2] + sum[3]), skip));
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
        store((T*)out + c * i + at, a * normal(a) * load(from + c));
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

// out = (x - mean) / sqrt(variance + eps) * weight + bias over the channels of each pixel; without weight and bias, x / sqrt(variance + eps).
void layer_norm(int64_t half, const void* x, const float* weight, const float* bias, void* out, int64_t pixels, int64_t c, double eps) {
  dispatch(half, [&]<typename T>(T) {
    parallel_for(pixels, [&](int64_t i) {
      const T* from = (const T*)x + i * c;
      T* to = (T*)out + i * c;
      const Moments m = moments(from, c, eps);
      for_blocks(c, [&](int64_t at, int64_t) {
        const Floats value = load(from + at);
        store(to + at, weight ? (value - m.mean) * m.scale * load(weight + at) + load(bias + at) : value * m.scale);
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
