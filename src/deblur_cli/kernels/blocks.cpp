// Half blocks of a Restormer in one loop each, for restoring: norm, 1x1 convolution to the wide layer, 3x3 depthwise convolution,
// then gate and product, or values and statistics. A piece of the frame is gone through row by row, and only three rows of the wide
// layer exist, which the second cache holds: the wide layer never goes to memory. The products are made here too, since a call of
// a library for a row would cost more than the row.
//
// Frames are (h, w, c), float32, or bfloat16 (half != 0) where the processor has products of it. Products then take two numbers at
// once, a Pair: of channels beside each other or, in the wide layer, of pixels. `E` is Pair or float, `T` the type of a number.
// A wide layer has two parts (gate and value; queries with keys, and values), each padded to a multiple of kPanel channels. Its taps
// (9, stride), or of pairs as `slide_pairs` says, and biases (stride) are padded in the same way. Matrices (k, n) are packed: (n / kPanel, k, kPanel), k counted in E.

#include "common.h"

namespace {

constexpr int64_t kPanel = 16, kVectors = 2, kTall = kLanes == 16 ? 12 : 6;
// Vectors of a tile lie beside each other in a panel, or in panels beside each other.
constexpr int64_t kPanels = kVectors * kLanes / kPanel;

int64_t padded(int64_t n) { return (n + kPanel - 1) / kPanel * kPanel; }
int64_t up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// T of an E, and how many an E has.
template <typename E>
struct Kind {
  typedef float T;
  static constexpr int64_t count = 1;
};
#ifdef __AVX512BF16__
template <>
struct Kind<Pair> {
  typedef bf16 T;
  static constexpr int64_t count = 2;
};
#endif
template <typename E>
constexpr int64_t kCount = Kind<E>::count;

// As many sums as an E has numbers: of pixels beside each other.
template <typename E>
struct Sums {
  Floats of[kCount<E>];
};
inline void store(float* p, const Sums<float>& sums) { store(p, sums.of[0]); }
#ifdef __AVX512BF16__
inline void store(Pair* p, const Sums<Pair>& sums) { store(p, sums.of[0], sums.of[1]); }
#endif

inline void set_one(float* p) { *p = 1.f; }
inline void set_one(bf16* p) { *p = {0x3f80}; }
inline Floats normal(float, Floats x) { return normal(x); }
#ifdef __AVX512BF16__
inline Floats normal(Pair, Floats x) { return normal_near(x); }
#endif

// The first numbers of a vector, if there are no more.
template <typename T>
inline Floats load_some(const T* p, int64_t count) {
  if (count >= kLanes) return load(p);
  T all[kLanes] = {};
  std::memcpy(all, p, count * sizeof(T));
  return load(all);
}
template <typename T>
inline void store_some(T* p, Floats x, int64_t count) {
  if (count >= kLanes) return store(p, x);
  T all[kLanes];
  store(all, x);
  std::memcpy(p, all, count * sizeof(T));
}

// body(Pair{}) or body(float{})
template <typename F>
inline void for_elements(int64_t half, F&& body) {
#ifdef __AVX512BF16__
  if (half) return body(Pair{});
#endif
  body(float{});
}

// Elements that lie in rows: `row` apart from row to row, `step` along them.
template <typename E>
struct Matrix {
  const E* at;
  int64_t row, step;
};

// Where a product goes: `row` from one row of E to the next, `panel` from one panel of columns to the next.
template <typename E>
struct Place {
  E* at;
  int64_t row, panel;
};

// out (n, vectors * kLanes) = a (n, k) b (k, ...), or added to it; rows of b are b_step apart, its vectors b_vector.
template <int64_t n, int64_t vectors, typename E, typename O>
inline void tile(Matrix<E> a, const E* b, int64_t b_step, int64_t b_vector, int64_t k, O* out, int64_t out_row, int64_t out_vector, bool add) {
  Floats sum[n][vectors] = {};
  const E *upper = a.at, *lower = a.at + n / 2 * a.row;
  const int64_t row = a.row, step = a.step;
  for (int64_t i = 0; i < k; i++) {
    decltype(load(b)) columns[vectors];
    for (int64_t j = 0; j < vectors; j++) columns[j] = load(b + j * b_vector);
#pragma GCC unroll 12
    for (int64_t y = 0; y < n; y++) {
      const E value = *(y < n / 2 ? upper + y * row : lower + (y - n / 2) * row);
      for (int64_t j = 0; j < vectors; j++) add_product(sum[y][j], value, columns[j]);
    }
    upper += step;
    lower += step;
    b += b_step;
  }
  for (int64_t y = 0; y < n; y += kCount<O>)
    for (int64_t j = 0; j < vectors; j++) {
      O* to = out + y / kCount<O> * out_row + j * out_vector;
      if constexpr (kCount<O> == 1)
        store(to, add ? load(to) + sum[y][j] : sum[y][j]);
      else
        store(to, sum[y][j], y + 1 < n ? sum[y + 1][j] : Floats{});
    }
}

template <int64_t vectors, int64_t n = kTall, typename E, typename O>
inline void tile_of(int64_t rows, Matrix<E> a, const E* b, int64_t b_step, int64_t b_vector, int64_t k, O* out, int64_t out_row, int64_t out_vector,
                    bool add) {
  if (rows == n)
    tile<n, vectors>(a, b, b_step, b_vector, k, out, out_row, out_vector, add);
  else if constexpr (n > 1)
    tile_of<vectors, n - 1>(rows, a, b, b_step, b_vector, k, out, out_row, out_vector, add);
}

// out (m, n padded) = a (m, k) b (k, n); b packed, or, with b_step, rows that lie b_step apart.
template <typename E, typename O>
inline void product(Matrix<E> a, int64_t m, const E* b, int64_t k, int64_t n, Place<O> out, int64_t b_step = 0, bool add = false) {
  const int64_t panel = b_step ? kPanel : k * kPanel, panels = padded(n) / kPanel;
  const int64_t vector = kPanels == 1 ? kLanes : panel, out_vector = kPanels == 1 ? kLanes : out.panel;
  for (int64_t j = 0; j < panels; j += kPanels)
    for (int64_t i = 0; i < m; i += kTall) {
      const Matrix<E> part{a.at + i * a.row, a.row, a.step};
      const int64_t rows = std::min(kTall, m - i), step = b_step ? b_step : kPanel;
      O* to = out.at + i / kCount<O> * out.row + j * out.panel;
      if (kPanels == 1 || j + kPanels <= panels)
        tile_of<kVectors>(rows, part, b + j * panel, step, vector, k, to, out.row, out_vector, add);
      else
        tile_of<1>(rows, part, b + j * panel, step, vector, k, to, out.row, out_vector, add);
    }
}

// Room that a thread keeps: made anew for each piece it would cost more than the piece. Parts of it begin on lines of the caches.
struct Room {
  char* at;
  explicit Room(int64_t bytes) {
    const int64_t size = bytes + 8 * 64;  // up to eight parts
    static thread_local std::vector<char> kept;
    if ((int64_t)kept.size() < size) kept.resize(size);
    at = (char*)up((int64_t)kept.data(), 64);
  }
  template <typename N>
  N* part(int64_t numbers) {
    N* here = (N*)at;
    at += up(numbers * sizeof(N), 64);
    return here;
  }
};

template <typename E>
struct Start {  // of a half block; null: no weight and bias, no bias
  const float *norm_weight, *norm_bias;
  const E *matrix, *taps;
  const float* taps_bias;
  double eps;
  int64_t depth;          // rows of the matrix, in E
  int64_t first, second;  // channels of both parts
};
struct Frame {
  int64_t h, w, c;
};

constexpr int64_t kWidest = 64;  // columns of a piece at most

#ifdef __AVX512BF16__
// As `slide`, of three rows of units of two pixels, from the second pixel to the one before the last: emit(unit, sums) with pixels
// 2 unit + 1 and 2 unit + 2. The taps a, b, c of a row are given as (c, 0) and (a, b), for the pixels before a unit and at its end,
// (b, c) and (0, a), for the one at its beginning and the one after it.
template <typename F>
inline void slide_pairs(const Above<Pair>& rows, int64_t units, int64_t step, const Pair* weight, int64_t weight_step, const float* bias, F&& emit) {
  static const Pair zeros[kLanes] = {};
  Pairs taps[3][4];
  const Pair* from[3];
  int64_t steps[3];
  for (int64_t dy = 0; dy < 3; dy++) {
    for (int64_t i = 0; i < 4; i++) taps[dy][i] = load(weight + (4 * dy + i) * weight_step);
    from[dy] = rows.row[dy] ? rows.row[dy] : zeros;
    steps[dy] = rows.row[dy] ? step : 0;
  }
  const Floats start = bias ? load(bias) : Floats{};
  Floats before = start, first = start;
  for (int64_t unit = 0; unit < units; unit++) {
    Floats last = start, after = start;
    for (int64_t dy = 0; dy < 3; dy++) {
      const Pairs value = load(from[dy] + unit * steps[dy]);
      add_product(before, value, taps[dy][0]);
      add_product(last, value, taps[dy][1]);
      add_product(first, value, taps[dy][2]);
      add_product(after, value, taps[dy][3]);
    }
    if (unit) emit(unit - 1, Sums<Pair>{before, first});
    before = last;
    first = after;
  }
}
#endif

// The rows of the wide layer that are at hand, of the columns left - 1 to right of a frame; those outside of the frame are zeros. The
// rows of a panel of channels lie together, and of a row its units: as many pixels as an E has, kPanel channels.
template <typename E>
struct Wide {
  typedef typename Kind<E>::T T;
  const T* x;
  Frame frame;
  const Start<E>& start;
  int64_t top, bottom, left, right, second, stride, units, turn, kept;
  Room room;
  E *rows, *normed;

  Wide(const T* x, Frame frame, const Start<E>& start, const int64_t* ys, const int64_t* xs, int64_t more_a_unit)
      : x(x), frame(frame), start(start), top(ys[0]), bottom(ys[1]), left(xs[0]), right(xs[1]), second(padded(start.first)),
        stride(second + padded(start.second)), units(up(right - left + 2, kCount<E>) / kCount<E>),
        turn(std::max(kWidest / (right - left), (int64_t)1)),  // rows made at once: many where they are short, for the sake of the products
        kept(turn > 1 ? up(turn + 2, turn) : 3), room(sizeof(E) * units * (kept * stride + turn * (start.depth * kCount<E> + more_a_unit))) {
    const int64_t size = turn * units * kCount<E> * start.depth;
    rows = room.part<E>(kept * units * stride);
    normed = room.part<E>(size);
    std::memset(normed, 0, size * sizeof(E));
  }
  // Row y of a panel of channels.
  E* row_of(int64_t y, int64_t panel) const { return rows + (panel * kept + (y - top + 1) % kept) * units * kPanel; }

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
    const int64_t pixels = units * kCount<E>, depth = start.depth * kCount<E>;
    for (int64_t y = first; y < end; y++)
      for (int64_t i = from; i < to; i++) {
        T* out = (T*)normed + ((y - first) * pixels + i - left + 1) * depth;
        norm_pixel(x + (y * frame.w + i) * c, start.norm_weight, start.norm_bias, out, c, start.eps);
        if (depth > c) set_one(out + c);  // the last row of the matrix is the bias
      }
    product(Matrix<E>{normed, start.depth, 1}, (end - first) * pixels, start.matrix, start.depth, stride,
            Place<E>{row_of(first, 0), kPanel, kept * units * kPanel});
  }
  // emit(unit, sums) for the units of row y, counted from `left`, of the block of channels at `at` of the wide layer; of the last one,
  // numbers beyond `right` may be anything.
  template <typename F>
  void convolve(int64_t y, int64_t at, F&& emit) const {
    Above<E> above;
    for (int64_t dy = -1; dy < 2; dy++)
      above.row[dy + 1] = y + dy < 0 || y + dy >= frame.h ? nullptr : row_of(y + dy, at / kPanel) + at % kPanel;
    const float* bias = start.taps_bias ? start.taps_bias + at : nullptr;
    if constexpr (kCount<E> == 1)
      slide(above, 1, units - 1, units, kPanel, start.taps + at, stride, bias, [&](int64_t i, Floats sum) { emit(i - 1, Sums<E>{sum}); });
    else
      slide_pairs(above, units, kPanel, start.taps + at, stride, bias, emit);
  }
  // The same: emit(pixel, sum).
  template <typename F>
  void convolve_pixels(int64_t y, int64_t at, F&& emit) const {
    convolve(y, at, [&](int64_t unit, Sums<E> sums) {
      for (int64_t j = 0; j < kCount<E>; j++)
        if (kCount<E> == 1 || unit * kCount<E> + j < right - left) emit(unit * kCount<E> + j, sums.of[j]);
    });
  }
};

// total (n, c) = base (n, c) + sums (n, c padded) + bias (c) or null; base may be total.
template <typename T>
void add_rows(const T* base, const float* sums, const float* bias, T* total, int64_t n, int64_t c) {
  for (int64_t i = 0; i < n; i++, base += c, sums += padded(c), total += c)
    for (int64_t at = 0; at < c; at += kLanes) {
      const Floats sum = load(sums + at) + load_some(base + at, c - at);
      store_some(total + at, bias ? sum + load_some(bias + at, c - at) : sum, c - at);
    }
}

}  // namespace

extern "C" {

// Whether frames may be bfloat16.
int64_t takes_half() {
#ifdef __AVX512BF16__
  return 1;
#else
  return 0;
#endif
}

// out = x + feed_forward(x): frames (h, w, c). Each span of rows with each of columns, first and end, is a piece.
void feed_forward(int64_t half, const void* x, void* out, int64_t h, int64_t w, int64_t c, const int64_t* rows, int64_t row_count,
                  const int64_t* columns, int64_t column_count, int64_t hidden, double eps, const float* norm_weight, const float* norm_bias,
                  const void* matrix, int64_t depth, const void* taps, const float* taps_bias, const void* project, const float* project_bias) {
  for_elements(half, [&]<typename E>(E) {
    typedef typename Kind<E>::T T;
    const Start<E> start{norm_weight, norm_bias, (const E*)matrix, (const E*)taps, taps_bias, eps, depth, hidden, hidden};
    parallel_for(row_count * column_count, [&](int64_t piece) {
      const int64_t *ys = rows + piece / column_count * 2, *xs = columns + piece % column_count * 2;
      const int64_t n = xs[1] - xs[0], gated_row = padded(hidden) / kCount<E> + kPanel;  // a few more, since powers of two would fall on the same lines of the caches
      Wide<E> wide((const T*)x, {h, w, c}, start, ys, xs, kCount<E> * (gated_row + padded(c)));
      E* gated = wide.room.template part<E>(wide.turn * n * gated_row);
      float* sums = wide.room.template part<float>(wide.turn * n * padded(c));
      wide.for_rows([&](int64_t first, int64_t end) {
        for (int64_t y = first; y < end; y++)
          for (int64_t at = 0; at < wide.second; at += kLanes) {
            T* to = (T*)(gated + (y - first) * n * gated_row) + at;
            Floats open[kWidest];
            wide.convolve_pixels(y, at, [&](int64_t i, Floats sum) { open[i] = sum; });
            for (int64_t i = 0; i < n; i++) open[i] *= normal(E{}, open[i]);
            wide.convolve_pixels(y, wide.second + at, [&](int64_t i, Floats sum) { store(to + i * gated_row * kCount<E>, open[i] * sum); });
          }
        product(Matrix<E>{gated, gated_row, 1}, (end - first) * n, (const E*)project, up(hidden, kCount<E>) / kCount<E>, c,
                Place<float>{sums, padded(c), kPanel});
        for (int64_t y = first; y < end; y++) {
          const int64_t at = (y * w + xs[0]) * c;
          add_rows((const T*)x + at, sums + (y - first) * n * padded(c), project_bias, (T*)out + at, n, c);
        }
      });
    });
  });
}

// v (h, w, c) = values; and of each piece, as above: gram (heads, d, d padded) = q^T k, squares (2 c padded) = sums of the squares of q and k.
void attention_start(int64_t half, const void* x, void* v, int64_t h, int64_t w, int64_t c, const int64_t* rows, int64_t row_count,
                     const int64_t* columns, int64_t column_count, int64_t heads, double eps, const float* norm_weight, const float* norm_bias,
                     const void* matrix, int64_t depth, const void* taps, const float* taps_bias, float* gram, float* squares) {
  for_elements(half, [&]<typename E>(E) {
    typedef typename Kind<E>::T T;
    const Start<E> start{norm_weight, norm_bias, (const E*)matrix, (const E*)taps, taps_bias, eps, depth, 2 * c, c};
    const int64_t d = c / heads, gram_size = c * padded(d);
    parallel_for(row_count * column_count, [&](int64_t piece) {
      const int64_t *ys = rows + piece / column_count * 2, *xs = columns + piece % column_count * 2;
      const int64_t n = xs[1] - xs[0], units = up(n, kCount<E>) / kCount<E>, second = padded(2 * c), qk_row = second + kPanel;
      Wide<E> wide((const T*)x, {h, w, c}, start, ys, xs, qk_row);
      E* qk = wide.room.template part<E>(wide.turn * units * qk_row);
      float *to_gram = gram + piece * gram_size, *to_squares = squares + piece * second;
      std::fill_n(to_gram, gram_size, 0.f);
      std::fill_n(to_squares, second, 0.f);
      wide.for_rows([&](int64_t first, int64_t end) {
        for (int64_t y = first; y < end; y++) {
          for (int64_t at = 0; at < second; at += kLanes) {
            E* to = qk + (y - first) * units * qk_row + at;
            Floats sum_of_squares = load(to_squares + at);
            wide.convolve(y, at, [&](int64_t unit, Sums<E> sums) {
              if (kCount<E> > 1 && (unit + 1) * kCount<E> > n) sums.of[kCount<E> - 1] = Floats{};
              store(to + unit * qk_row, sums);
              for (Floats sum : sums.of) sum_of_squares += sum * sum;
            });
            store(to_squares + at, sum_of_squares);
          }
          for (int64_t at = 0; at < c; at += kLanes) {
            T* to = (T*)v + (y * w + xs[0]) * c + at;
            wide.convolve_pixels(y, second + at, [&](int64_t i, Floats sum) { store_some(to + i * c, sum, c - at); });
          }
        }
        for (int64_t head = 0; head < heads; head++)
          product(Matrix<E>{qk + head * d, 1, qk_row}, d, qk + c + head * d, (end - first) * units, d,
                  Place<float>{to_gram + head * d * padded(d), padded(d), kPanel}, qk_row, true);
      });
    });
  });
}

// The rows ys[0] to ys[1] - 1 and columns xs[0] to xs[1] - 1 of frame x (h, w, c) += those of v times matrix (c, c), plus bias or null.
void attention_end(int64_t half, void* x, const void* v, int64_t w, int64_t c, int64_t top, int64_t bottom, int64_t left, int64_t right,
                   const void* matrix, const float* bias) {
  for_elements(half, [&]<typename E>(E) {
    typedef typename Kind<E>::T T;
    const int64_t k = c / kCount<E>;
    parallel_for(bottom - top, [&](int64_t row) {
      Room room(kWidest * padded(c) * sizeof(float));
      float* sums = room.part<float>(kWidest * padded(c));
      for (int64_t i = left; i < right; i += kWidest) {
        const int64_t at = ((top + row) * w + i) * c, n = std::min(kWidest, right - i);
        product(Matrix<E>{(const E*)((const T*)v + at), k, 1}, n, (const E*)matrix, k, c, Place<float>{sums, padded(c), kPanel});
        add_rows((T*)x + at, sums, bias, (T*)x + at, n, c);
      }
    });
  });
}

}  // extern "C"
