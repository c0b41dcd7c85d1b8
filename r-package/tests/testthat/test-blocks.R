# What BPCells gives its matrices: sizes and names as slots, `[` without `drop`, operations that wait, and a conversion. This one refuses to be
# converted whole and counts the cells of each conversion.
methods::setClass(
    "IterableMatrix", slots = c(dim = "numeric", transpose = "logical", dimnames = "list", behind = "environment"), where = environment()
)
methods::setMethod("[", "IterableMatrix", function(x, i, j, ...) {
    at <- function(index, margin) if (is.character(index)) match(index, x@dimnames[[margin]]) else index
    rows <- if (missing(i)) seq_len(x@dim[[1]]) else at(i, 1)
    columns <- if (missing(j)) seq_len(x@dim[[2]]) else at(j, 2)
    behind <- list2env(list(values = x@behind$values[rows, columns, drop = FALSE], whole = x@behind$whole, said = x@behind$said))
    on_disk_view(behind)
}, where = environment())
methods::setAs("IterableMatrix", "dgCMatrix", function(from) {
    said <- from@behind$said
    said$cells <- c(said$cells, ncol(from@behind$values))
    if (ncol(from@behind$values) >= from@behind$whole) {
        stop("the whole matrix was converted")
    }
    from@behind$values
}, where = environment())

on_disk_view <- function(behind) {
    values <- behind$values
    methods::new("IterableMatrix", dim = as.numeric(dim(values)), transpose = FALSE, dimnames = dimnames(values), behind = behind)
}

on_disk <- function(values = counts_of()) {
    on_disk_view(list2env(list(values = values, whole = ncol(values), said = new.env())))
}

converted <- function(x) x@behind$said$cells

# Blocks of so many cells of 230 genes.
with_blocks <- function(n_cells, code) with_internal(list(block_values = 230 * n_cells), code)

test_that("a matrix on disk gives the embedding of the one in memory, and is never converted whole", {
    matrix <- on_disk()
    expect_identical(with_blocks(32, embed(matrix)), embed())
    expect_identical(converted(matrix), c(32L, 32L, 16L))

    one_by_one <- on_disk()
    with_blocks(0.5, cells_input(list(one_by_one)))
    expect_identical(converted(one_by_one), rep(1L, 80))
})

test_that("chosen genes, and layers whose genes are in another order, are the same from disk", {
    counts <- counts_of()
    features <- rownames(counts)[1:50]
    expected <- run(counts, groups_of(), features = features)$embedding
    expect_identical(with_blocks(30, run(on_disk(), groups_of(), features = features)$embedding), expected)

    first <- groups_of() == "g1"
    parts <- list(counts[, first], on_disk(counts[230:1, !first]))
    object <- pbmc()
    split <- list(
        layers_there = function(assay) c("counts.g1", "counts.g2"),
        layer_data = function(assay, layer) if (layer == "counts.g1") parts[[1]] else parts[[2]]
    )
    object <- with_blocks(20, with_internal(split, run(pbmc(), "groups", n.features = 0)))
    expect_identical(coordinates(object), unname(embed(counts[, c(which(first), which(!first))])[colnames(counts), ]))
})

test_that("cells on disk are mapped and looked into as those in memory", {
    model <- run(counts_of(), groups_of())
    query <- on_disk()
    mapped <- with_blocks(25, MapToReference(query, model, verbose = FALSE))
    expect_identical(mapped$embedding, MapToReference(counts_of(), model, verbose = FALSE)$embedding)
    expect_identical(converted(query), c(25L, 25L, 25L, 5L))
    expect_identical(with_blocks(25, GeneAttribution(on_disk(), model = model)), GeneAttribution(counts_of(), model = model))
})

test_that("a wrong value on disk is named by cell and gene", {
    counts <- counts_of()
    counts@x[[length(counts@x)]] <- NaN
    bare <- counts_of()
    bare@Dimnames <- list(NULL, NULL)
    expect_snapshot({
        refusal(with_blocks(32, embed(on_disk(counts))))
        refusal(embed(on_disk(bare)))
    })
})

test_that("a DelayedMatrix goes by blocks, the last of one cell", {
    skip_if_not_installed("DelayedArray")
    delayed <- DelayedArray::DelayedArray(counts_of())
    expect_identical(with_blocks(79, embed(delayed)), embed())
    expect_identical(with_blocks(79, embed(delayed[230:1, ])), embed(counts_of()[230:1, ]))
    dense <- DelayedArray::DelayedArray(as.matrix(counts_of()))
    expect_identical(with_blocks(40, embed(dense * 1L)), embed())

    skip_if_not_installed("SingleCellExperiment")
    sce <- sce_of()
    expected <- coordinates(run(sce, "groups", n.features = 0))
    SummarizedExperiment::assay(sce, "counts") <- delayed
    expect_identical(coordinates(with_blocks(40, run(sce, "groups", n.features = 0))), expected)
})
