# 400 cells of five clusters in two batches; the reference has two thirds of them, and nothing of cluster_5.
reference_and_query <- function() {
    object <- SimulateCells("five_clusters_two_batches", n_cells = 400, n_genes = 60)
    set.seed(1)
    held_out <- object$cell_type == "cluster_5" | stats::runif(400) < 0.3
    reference <- run(object[, !held_out], "batch", n_epochs = 30, latent_dim = 16, batch_size = 64)
    list(reference = reference, query = object[, held_out])
}

test_that("labels are those of the truth, and cells of an unknown kind are novel", {
    cells <- reference_and_query()
    query <- MapToReference(cells$query, cells$reference, label.by = c("cell_type", "batch"))
    known <- cells$query$cell_type != "cluster_5"
    expect_gt(mean(query$predicted.cell_type[known] == as.character(query$cell_type[known])), 0.98)
    novelty <- query$predicted.cell_type.novelty
    expect_gt(stats::median(novelty[!known]), 0.99)
    expect_lt(stats::median(novelty[known]), 0.75)

    # In the shape of Seurat's MapQuery.
    scores <- query[["prediction.score.cell_type"]]
    expect_identical(rownames(scores), paste0("cluster-", 1:4))
    expect_equal(unname(colSums(layer_data(scores, "data"))), rep(1, ncol(query)), tolerance = 1e-6)
    expect_equal(unname(apply(layer_data(scores, "data"), 2, max)), query$predicted.cell_type.score, ignore_attr = TRUE)
    expect_true(all(c("predicted.batch", "predicted.batch.score", "predicted.batch.novelty") %in% names(query[[]])))
})

test_that("a reference's own cells map onto themselves, whatever the order of cells and genes", {
    object <- run(pbmc(), "groups")
    expect_identical(coordinates(MapToReference(pbmc(), object, verbose = FALSE), "ref.concord"), coordinates(object))
    result <- run(counts_of(), groups_of())
    set.seed(2)
    shuffled <- counts_of()[sample(230), sample(80)]
    expect_equal(MapToReference(shuffled, result)$embedding[colnames(counts_of()), ], result$embedding, tolerance = 1e-6)
})

test_that("a matrix, a Seurat object and a SingleCellExperiment get the same labels", {
    reference <- run(pbmc()[, 1:60], "groups")
    query <- pbmc()[, 61:80]
    of_seurat <- MapToReference(query, reference, label.by = "letter.idents", verbose = FALSE)
    of_matrix <- MapToReference(counts_of(query), reference, label.by = "letter.idents", verbose = FALSE)
    of_sce <- MapToReference(sce_of(query), reference, label.by = "letter.idents", verbose = FALSE)
    expect_identical(unname(of_seurat$predicted.letter.idents), of_matrix$labels$letter.idents$predicted.id)
    expect_identical(of_sce$predicted.letter.idents, of_matrix$labels$letter.idents$predicted.id)
    expect_identical(coordinates(of_sce, "REF_CONCORD"), coordinates(of_seurat, "ref.concord"))
    expect_identical(unname(of_matrix$embedding), coordinates(of_seurat, "ref.concord"))

    sce_reference <- run(sce_of(pbmc()[, 1:60]), "groups", features = SeuratObject::VariableFeatures(pbmc()))
    expect_identical(MapToReference(counts_of(query), sce_reference, label.by = "letter.idents", verbose = FALSE), of_matrix)
})

test_that("a projection is the weighted mean of the nearest reference cells", {
    reference <- run(pbmc()[, 1:60], "groups")
    query <- MapToReference(pbmc()[, 61:80], reference, projection = "tsne", n.neighbors = 1, verbose = FALSE)
    unit <- function(x) x / sqrt(rowSums(x^2))
    cosine <- unit(coordinates(query, "ref.concord")) %*% t(unit(coordinates(reference)))
    nearest <- max.col(cosine, ties.method = "first")
    expect_equal(coordinates(query, "ref.tsne"), coordinates(reference, "tsne")[nearest, ], tolerance = 1e-5)
})

test_that("a model with a classifier gives its classes without the reference's cells", {
    object <- five_clusters()
    object <- run(object, "batch", label.by = "cell_type", n_epochs = 30, latent_dim = 16, batch_size = 64)
    query <- MapToReference(five_clusters(), GetModel(object), verbose = FALSE)
    expect_identical(unname(query$predicted.class), as.character(object$concord_class))
    expect_equal(unname(query$predicted.class.score), unname(object$concord_class_probability), tolerance = 1e-6)
})

test_that("the vote is the one counted by hand", {
    # Unit vectors on a circle: the query at 0 degrees sees a (0), b (10), b (-10), a (180).
    at <- function(degrees) cbind(cos(degrees * pi / 180), sin(degrees * pi / 180))
    reference <- at(c(0, 10, -10, 180))
    labels <- c("a", "b", "b", "a")
    one <- TransferLabels(reference, labels, at(0), n.neighbors = 1)
    expect_identical(one$predicted.id, "a")
    three <- TransferLabels(reference, labels, at(0), n.neighbors = 3)
    expect_identical(three$predicted.id, "b")
    expect_equal(three$prediction.score.a + three$prediction.score.b, 1, tolerance = 1e-6)
    # Without its label the nearest does not vote; names, not places, join labels to cells.
    unknown <- TransferLabels(reference, c(NA, "b", "b", "a"), at(0), n.neighbors = 1)
    expect_identical(unknown$predicted.id, "b")
    rownames(reference) <- letters[1:4]
    expect_identical(TransferLabels(reference, stats::setNames(labels, letters[1:4])[4:1], at(0), n.neighbors = 3), three)
})

test_that("what does not fit is refused", {
    result <- run(counts_of(), groups_of())
    expect_warning(MapToReference(counts_of()[1:150, ], result), "80 of the model's 230 genes", class = "tutti_warning")
    expect_silent(MapToReference(counts_of()[1:150, ], result, verbose = FALSE))
    x <- matrix(c(1, 2, 3, 4, 5, 7), 3)
    expect_snapshot({
        refusal(MapToReference(counts_of()[1:20, ], result))
        refusal(MapToReference(counts_of(), result, min.overlap = 2))
        refusal(MapToReference(counts_of(), result, n.neighbors = 0, label.by = "a"))
        refusal(MapToReference(counts_of(), result, label.by = "letter.idents"))
        refusal(MapToReference(counts_of(), run(pbmc(), "groups"), label.by = "donor"))
        refusal(MapToReference(counts_of(), run(pbmc(), "groups"), projection = "umap"))
        refusal(TransferLabels(x, 1:2, x))
        refusal(TransferLabels(x, 1:3, x[, 1]))
        refusal(TransferLabels(replace(x, 1, NA), 1:3, x))
        refusal(TransferLabels(matrix("a", 2, 2), 1:2, x))
    })
})
