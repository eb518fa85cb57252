// What PyTorch's CPU backend is slow at in a Restormer: the 3x3 depthwise convolution, the gelu gate and the norm over the channels,
// forward for restoring and training, backward for training. Tensors are (..., h, w, c), contiguous, of at least 16 channels,
// bfloat16 (half != 0) or float32; parameters and all arithmetic are float32. Plain C functions on pointers, which __init__.py
// calls; build.py compiles this file once for each kind of processor. Threads are those of torch: nothing here links OpenMP.

#include "common.h"

namespace {

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
          slide(rows.at(at), first, end, w, c, weight + at, c, bias ? bias + at : nullptr, [&](int64_t i, Floats sum) { store(to + i * c, sum); });
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
          slide(gates.at(at), first, end, w, c, gate_weight + at, c, gate_bias ? gate_bias + at : nullptr, [&](int64_t i, Floats sum) { open[i - first] = sum; });
          for (int64_t i = 0; i < end - first; i++) open[i] *= normal(open[i]);
          slide(values.at(at), first, end, w, c, value_weight + at, c, value_bias ? value_bias + at : nullptr,
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
      norm_pixel((const T*)x + i * c, weight, bias, (T*)out + i * c, c, eps);
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
