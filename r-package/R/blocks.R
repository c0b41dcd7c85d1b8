# Matrices whose values are on disk or still to be computed: of BPCells and DelayedArray. They go to Rust by blocks of cells, so that the whole is
# never a matrix of R: there it takes 8 bytes per value, where R needs 12, and as much again for each step of a conversion.

comes_by_blocks <- function(x) methods::is(x, "IterableMatrix") || methods::is(x, "DelayedMatrix")

# Features times cells of a block. At most 12 bytes each in R, a tenth of that at the usual share of zeros.
block_values <- 2^25

# All cells of `x`, with these features or, for NULL, its own.
read_blocks <- function(x, features, call) {
    size <- max(1, block_values %/% max(nrow(x), 1))
    pointer <- call_rust(rust_blocks, .call = call)
    for (before in seq(0, max(ncol(x) - 1, 0), by = size)) {
        cells <- before + seq_len(min(size, ncol(x) - before))
        call_rust(rust_blocks_push, pointer, block_of(x, features, cells), .call = call)
    }
    pointer
}

block_of <- function(x, features, cells) {
    # `[` of BPCells has no argument `drop`; that of DelayedArray makes a vector of a single cell without it.
    block <- if (methods::is(x, "IterableMatrix")) {
        if (is.null(features)) x[, cells] else x[features, cells]
    } else {
        if (is.null(features)) x[, cells, drop = FALSE] else x[features, cells, drop = FALSE]
    }
    as(block, "dgCMatrix")
}
