// Half blocks of a Restormer in one loop each, for restoring: norm, 1x1 convolution to the wide layer, 3x3 depthwise convolution,
// then gate and product, or values and statistics. A piece of the frame is gone through row by row, and only three rows of the wide
// layer exist, which the second cache holds: the wide layer never goes to memory. The products are made here too, since a call of
// a library for a row would cost more than the row.
//
// Frames are (h, w, c) float32. A wide layer has two parts (gate and value; queries with keys, and values), each padded to a multiple
// of kPanel channels; its pixels lie `stride` numbers apart, which is a few more, since powers of two would fall on the same lines of
// the caches. Its taps (9, stride) and biases (stride) are padded in the same way. Matrices (k, n) are packed: (n / kPanel, k, kPanel).

#include "common.h"

namespace {

constexpr int64_t kPanel = 16, kVectors = 2, kTall = kLanes == 16 ? 12 : 6;
// Vectors of a tile lie beside each other in a panel, or in panels beside each other.
constexpr int64_t kPanels = kVectors * kLanes / kPanel;

int64_t padded(int64_t n) { return (n + kPanel - 1) / kPanel * kPanel; }

// Numbers that lie in rows: `row` apart from row to row, `step` along them.
struct Matrix {
  const float* at;
  int64_t row, step;
};

// out (n, vectors * kLanes) = a (n, k) b (k, ...), or added to it; rows of b are b_step apart, its vectors b_vector.
template <int64_t n, int64_t vectors>
inline void tile(Matrix a, const float* b, int64_t b_step, int64_t b_vector, int64_t k, float* out, int64_t out_row, int64_t out_vector, bool add) {
  Floats sum[n][vectors] = {};
  const float *upper = a.at, *lower = a.at + n / 2 * a.row;
  const int64_t row = a.row, step = a.step;
  for (int64_t i = 0; i < k; i++) {
    Floats columns[vectors];
    for (int64_t j = 0; j < vectors; j++) columns[j] = load(b + j * b_vector);
#pragma GCC unroll 12
    for (int64_t y = 0; y < n; y++) {
      const float value = *(y < n / 2 ? upper + y * row : lower + (y - n / 2) * row);
      for (int64_t j = 0; j < vectors; j++) sum[y][j] += value * columns[j];
    }
    upper += step;
    lower += step;
    b += b_step;
  }
  for (int64_t y = 0; y < n; y++)
    for (int64_t j = 0; j < vectors; j++) {
      float* to = out + y * out_row + j * out_vector;
      store(to, add ? load(to) + sum[y][j] : sum[y][j]);
    }
}

template <int64_t vectors, int64_t n = kTall>
inline void tile_of(int64_t rows, Matrix a, const float* b, int64_t b_step, int64_t b_vector, int64_t k, float* out, int64_t out_row,
                    int64_t out_vector, bool add) {
  if (rows == n)
    tile<n, vectors>(a, b, b_step, b_vector, k, out, out_row, out_vector, add);
  else if constexpr (n > 1)
    tile_of<vectors, n - 1>(rows, a, b, b_step, b_vector, k, out, out_row, out_vector, add);
}

// out (m, n padded) = a (m, k) b (k, n); b packed, or, with b_step, rows that lie b_step apart.
inline void product(Matrix a, int64_t m, const float* b, int64_t k, int64_t n, float* out, int64_t out_row, int64_t b_step = 0, bool add = false) {
  const int64_t panel = b_step ? kPanel : k * kPanel, vector = kPanels == 1 ? kLanes : panel, panels = padded(n) / kPanel;
  for (int64_t j = 0; j < panels; j += kPanels)
    for (int64_t i = 0; i < m; i += kTall) {
      const Matrix part{a.at + i * a.row, a.row, a.step};
      const int64_t rows = std::min(kTall, m - i), step = b_step ? b_step : kPanel;
      float* to = out + i * out_row + j * kPanel;
      if (kPanels == 1 || j + kPanels <= panels)
        tile_of<kVectors>(rows, part, b + j * panel, step, vector, k, to, out_row, kLanes, add);
      else
        tile_of<1>(rows, part, b + j * panel, step, vector, k, to, out_row, kLanes, add);
    }
}

// Room that a thread keeps: made anew for each piece it would cost more than the piece.
float* room(int64_t numbers) {
  static thread_local std::vector<float> kept;
  if ((int64_t)kept.size() < numbers) kept.resize(numbers);
  return kept.data();
}

struct Start {  // of a half block; null: no weight and bias, no bias
  const float *norm_weight, *norm_bias, *matrix, *bias, *taps, *taps_bias;
  double eps;
  int64_t first, second;  // channels of both parts
};
struct Frame {
  int64_t h, w, c;
};

constexpr int64_t kWidest = 64;  // columns of a piece at most

// The rows of the wide layer that are at hand, of the columns left - 1 to right of a frame; those outside of the frame are zeros.
struct Wide {
  const float* x;
  Frame frame;
  const Start& start;
  int64_t top, bottom, left, right, second, stride, pixels, turn, kept;
  float *rows, *normed, *spare;

  Wide(const float* x, Frame frame, const Start& start, const int64_t* ys, const int64_t* xs, int64_t more_a_pixel)
      : x(x), frame(frame), start(start), top(ys[0]), bottom(ys[1]), left(xs[0]), right(xs[1]), second(padded(start.first)),
        stride(second + padded(start.second) + kPanel), pixels(right - left + 2),
        turn(std::max(kWidest / (right - left), (int64_t)1)),  // rows made at once: many where they are short, for the sake of the products
        kept(turn > 1 ? (turn + 2 + turn - 1) / turn * turn : 3) {
    const int64_t size = pixels * stride, normed_size = turn * pixels * frame.c;
    rows = room(kept * size + normed_size + turn * (right - left) * more_a_pixel);
    normed = rows + kept * size;
    spare = normed + normed_size;
    std::fill_n(normed, normed_size, 0.f);
  }
  int64_t slot(int64_t y) const { return (y - top + 1) % kept; }

  // body(first row, end row), for all rows of the piece in turn, as soon as the wide layer is there around them.
  template <typename F>
  void for_rows(F&& body) const {
    for (int64_t made = top - 1, done = top; done < bottom;) {
      const int64_t end = std::min(made + turn, bottom + 1), ready = std::min(end - 1, bottom);
      make(std::max(made, (int64_t)0), std::min(end, frame.h));
      made = end;
      if (done < ready) body(done, ready);
      done = std::max(done, ready);
    }
  }
  void make(int64_t first, int64_t end) const {
    if (first >= end) return;
    const int64_t from = std::max(left - 1, (int64_t)0), to = std::min(right + 1, frame.w), c = frame.c;
    float* out = rows + slot(first) * pixels * stride;
    for (int64_t y = first; y < end; y++)
      for (int64_t i = from; i < to; i++)
        norm_pixel(x + (y * frame.w + i) * c, start.norm_weight, start.norm_bias, normed + ((y - first) * pixels + i - left + 1) * c, c, start.eps);
    product({normed, c, 1}, (end - first) * pixels, start.matrix, c, stride - kPanel, out, stride);
    if (!start.bias) return;
    for (int64_t y = first; y < end; y++)
      for (int64_t i = from; i < to; i++)
        for (int64_t at = 0; at < stride - kPanel; at += kLanes) {
          float* total = out + ((y - first) * pixels + i - left + 1) * stride + at;
          store(total, load(total) + load(start.bias + at));
        }
  }
  // emit(pixel, sum) for the pixels of row y, counted from `left`, of the block of channels at `at` of the wide layer.
  template <typename F>
  void convolve(int64_t y, int64_t at, F&& emit) const {
    Above<float> above;
    for (int64_t dy = -1; dy < 2; dy++) above.row[dy + 1] = y + dy < 0 || y + dy >= frame.h ? nullptr : rows + slot(y + dy) * pixels * stride;
    slide(above, 1, pixels - 1, pixels, stride, at, start.taps, start.taps_bias, [&](int64_t i, Floats sum) { emit(i - 1, sum); });
  }
};

// total (n, c) = base (n, c) + sums (n, c padded) + bias (c) or null; base may be total.
void add_rows(const float* base, const float* sums, const float* bias, float* total, int64_t n, int64_t c) {
  for (int64_t i = 0; i < n; i++)
    for_blocks(c, [&](int64_t at, int64_t skip) {
      Floats sum = load(sums + i * padded(c) + at);
      if (bias) sum += load(bias + at);
      store(total + i * c + at, load(base + i * c + at) + (base == total ? without(sum, skip) : sum));
    });
}

}  // namespace

extern "C" {

// out = x + feed_forward(x): frames (h, w, c). Each span of rows with each of columns, first and end, is a piece.
void feed_forward(const float* x, float* out, int64_t h, int64_t w, int64_t c, const int64_t* rows, int64_t row_count, const int64_t* columns,
                  int64_t column_count, int64_t hidden, double eps, const float* norm_weight, const float* norm_bias, const float* matrix,
                  const float* bias, const float* taps, const float* taps_bias, const float* project, const float* project_bias) {
  const Start start{norm_weight, norm_bias, matrix, bias, taps, taps_bias, eps, hidden, hidden};
  parallel_for(row_count * column_count, [&](int64_t piece) {
    const int64_t *ys = rows + piece / column_count * 2, *xs = columns + piece % column_count * 2;
    const int64_t n = xs[1] - xs[0], gated_row = padded(hidden) + kPanel;
    const Wide wide(x, {h, w, c}, start, ys, xs, gated_row + padded(c));
    float *gated = wide.spare, *sums = gated + wide.turn * n * gated_row;
    wide.for_rows([&](int64_t first, int64_t end) {
      for (int64_t y = first; y < end; y++)
        for (int64_t at = 0; at < wide.second; at += kLanes) {
          float* to = gated + (y - first) * n * gated_row + at;
          Floats open[kWidest];
          wide.convolve(y, at, [&](int64_t i, Floats sum) { open[i] = sum; });
          for (int64_t i = 0; i < n; i++) open[i] *= normal(open[i]);
          wide.convolve(y, wide.second + at, [&](int64_t i, Floats sum) { store(to + i * gated_row, open[i] * sum); });
        }
      product({gated, gated_row, 1}, (end - first) * n, project, hidden, c, sums, padded(c));
      for (int64_t y = first; y < end; y++) {
        const int64_t at = (y * w + xs[0]) * c;
        add_rows(x + at, sums + (y - first) * n * padded(c), project_bias, out + at, n, c);
      }
    });
  });
}

// v (h, w, c) = values; and of each piece, as above: gram (heads, d, d padded) = q^T k, squares (2 c padded) = sums of the squares of q and k.
void attention_start(const float* x, float* v, int64_t h, int64_t w, int64_t c, const int64_t* rows, int64_t row_count, const int64_t* columns,
                     int64_t column_count, int64_t heads, double eps, const float* norm_weight, const float* norm_bias, const float* matrix,
                     const float* bias, const float* taps, const float* taps_bias, float* gram, float* squares) {
  const Start start{norm_weight, norm_bias, matrix, bias, taps, taps_bias, eps, 2 * c, c};
  const int64_t d = c / heads, gram_size = c * padded(d);
  parallel_for(row_count * column_count, [&](int64_t piece) {
    const int64_t *ys = rows + piece / column_count * 2, *xs = columns + piece % column_count * 2;
    const int64_t n = xs[1] - xs[0], second = padded(2 * c), qk_row = second + kPanel;
    const Wide wide(x, {h, w, c}, start, ys, xs, qk_row);
    float *qk = wide.spare, *to_gram = gram + piece * gram_size, *to_squares = squares + piece * second;
    std::fill_n(to_gram, gram_size, 0.f);
    std::fill_n(to_squares, second, 0.f);
    wide.for_rows([&](int64_t first, int64_t end) {
      for (int64_t y = first; y < end; y++) {
        for (int64_t at = 0; at < second; at += kLanes) {
          float* to = qk + (y - first) * n * qk_row + at;
          Floats sum_of_squares = load(to_squares + at);
          wide.convolve(y, at, [&](int64_t i, Floats sum) {
            store(to + i * qk_row, sum);
            sum_of_squares += sum * sum;
          });
          store(to_squares + at, sum_of_squares);
        }
        for_blocks(c, [&](int64_t at, int64_t) {
          float* to = v + (y * w + xs[0]) * c + at;
          wide.convolve(y, second + at, [&](int64_t i, Floats sum) { store(to + i * c, sum); });
        });
      }
      for (int64_t head = 0; head < heads; head++)
        product({qk + head * d, 1, qk_row}, d, qk + c + head * d, (end - first) * n, d, to_gram + head * d * padded(d), padded(d), qk_row, true);
    });
  });
}

// The rows ys[0] to ys[1] - 1 and columns xs[0] to xs[1] - 1 of frame x (h, w, c) += those of v times matrix (c, c), plus bias or null.
void attention_end(float* x, const float* v, int64_t w, int64_t c, int64_t top, int64_t bottom, int64_t left, int64_t right, const float* matrix,
                   const float* bias) {
  parallel_for(bottom - top, [&](int64_t row) {
    for (int64_t i = left; i < right; i += kWidest) {
      const int64_t at = ((top + row) * w + i) * c, n = std::min(kWidest, right - i);
      float* sums = room(kWidest * padded(c));
      product({v + at, c, 1}, n, matrix, c, c, sums, padded(c));
      add_rows(x + at, sums, bias, x + at, n, c);
    }
  });
}

}  // extern "C"
