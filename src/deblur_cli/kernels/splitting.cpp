// What is done between two Fourier transforms: by half-quadratic splitting, and for a camera that rolls. Frames (k, h, w) are contiguous, float32, and wrap
// round; spectra are of pairs of numbers.

#include "common.h"

namespace {

constexpr int64_t kRowsAtOnce = 16, kPairs = 512;

// out = the divergence of `shrink` of the gradients of x: shrink(right, down, frame, place) changes both.
template <typename F>
inline void shrunk_divergence(const float* x, float* out, int64_t k, int64_t h, int64_t w, F&& shrink) {
  const int64_t parts = (h + kRowsAtOnce - 1) / kRowsAtOnce;
  parallel_for(k * parts, [&](int64_t i) {
    static thread_local std::vector<float> room;
    if ((int64_t)room.size() < 3 * w + 1) room.resize(3 * w + 1);
    const int64_t frame = i / parts, first = i % parts * kRowsAtOnce, end = std::min(h, first + kRowsAtOnce);
    const float* from = x + frame * h * w;
    float *right = room.data() + 1, *above = right + w, *down = above + w;  // right[-1] is the last one of the row
    const auto row_of = [&](int64_t y, float* down) {
      const float *row = from + y * w, *next = from + (y + 1 < h ? y + 1 : 0) * w;
      for (int64_t column = 0; column < w - 1; column++) right[column] = row[column + 1] - row[column];
      right[w - 1] = row[0] - row[w - 1];
      for (int64_t column = 0; column < w; column++) down[column] = next[column] - row[column];
      shrink(right, down, frame, y);
      right[-1] = right[w - 1];
    };
    row_of(first ? first - 1 : h - 1, above);
    for (int64_t y = first; y < end; y++) {
      row_of(y, down);
      float* to = out + (frame * h + y) * w;
      for (int64_t column = 0; column < w; column++) to[column] = right[column - 1] - right[column] + above[column] - down[column];
      std::swap(above, down);
    }
  });
}

}  // namespace

extern "C" {

// Gradients whose squares add up to less than `least` are 0.
void few_gradients(const float* x, float* out, int64_t k, int64_t h, int64_t w, double least) {
  const float edge = (float)least;
  shrunk_divergence(x, out, k, h, w, [&](float* right, float* down, int64_t, int64_t) {
    for (int64_t i = 0; i < w; i++) {
      const bool kept = right[i] * right[i] + down[i] * down[i] >= edge;
      right[i] = kept ? right[i] : 0.f;
      down[i] = kept ? down[i] : 0.f;
    }
  });
}

// Each gradient is made smaller by threshold (h, w) times its size to the power -1/4, that size being 1e-4 at least.
void sparse_gradients(const float* x, const float* threshold, float* out, int64_t k, int64_t h, int64_t w) {
  shrunk_divergence(x, out, k, h, w, [&](float* right, float* down, int64_t, int64_t y) {
    const float* of_row = threshold + y * w;
    for (float* gradient : {right, down})
      for (int64_t i = 0; i < w; i++) {
        const float size = fabsf(gradient[i]), left = size - of_row[i] / sqrtf(sqrtf(size < 1e-4f ? 1e-4f : size));
        gradient[i] = left > 0.f ? copysignf(left, gradient[i]) : 0.f;
      }
  });
}

// pull (k, n) = (seen + share pull) / (passed + share power), pairs of numbers the first two; passed (k, n), or (n) if `one`; power (n).
void quotient(float* pull, const float* seen, const float* passed, const float* power, int64_t k, int64_t n, double share, int64_t one) {
  const int64_t parts = (n + 4095) / 4096;
  const float much = (float)share;
  parallel_for(k * parts, [&](int64_t i) {
    const int64_t frame = i / parts, first = i % parts * 4096, end = std::min(n, first + 4096);
    float* to = pull + 2 * frame * n;
    const float *from = seen + 2 * frame * n, *whole = passed + (one ? 0 : frame * n);
    for (int64_t j = first; j < end; j++) {
      const float factor = 1.f / (whole[j] + much * power[j]);
      to[2 * j] = (from[2 * j] + much * to[2 * j]) * factor;
      to[2 * j + 1] = (from[2 * j + 1] + much * to[2 * j + 1]) * factor;
    }
  });
}

// out (r, n) = the sum over t of factors (r, t, n) times x (t, n); or, if `adjoint`, out (t, n) = the sum over r of their conjugates times x (r, n).
// All of pairs of numbers.
void sum_of_products(const float* factors, const float* x, float* out, int64_t r, int64_t t, int64_t n, int64_t adjoint) {
  const int64_t rows = adjoint ? t : r, terms = adjoint ? r : t, row_step = adjoint ? n : t * n, term_step = adjoint ? t * n : n;
  const int64_t parts = (n + kPairs - 1) / kPairs;
  const float sign = adjoint ? -1.f : 1.f;
  parallel_for(rows * parts, [&](int64_t i) {
    const int64_t row = i / parts, first = i % parts * kPairs, count = std::min(n - first, kPairs);
    float real[kPairs] = {}, other[kPairs] = {};
    for (int64_t term = 0; term < terms; term++) {
      const float *a = factors + 2 * (row * row_step + term * term_step + first), *b = x + 2 * (term * n + first);
      for (int64_t j = 0; j < count; j++) {
        const float turned = sign * a[2 * j + 1];
        real[j] += a[2 * j] * b[2 * j] - turned * b[2 * j + 1];
        other[j] += a[2 * j] * b[2 * j + 1] + turned * b[2 * j];
      }
    }
    float* to = out + 2 * (row * n + first);
    for (int64_t j = 0; j < count; j++) {
      to[2 * j] = real[j];
      to[2 * j + 1] = other[j];
    }
  });
}

}  // extern "C"
