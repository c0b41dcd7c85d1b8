test_that("a SingleCellExperiment comes back with a reduced dimension in capitals, and its model", {
    sce <- sce_of()
    out <- run(sce, "groups", label.by = "letter.idents")
    expect_identical(SingleCellExperiment::reducedDimNames(out), "CONCORD")
    expect_identical(rownames(SingleCellExperiment::reducedDim(out, "CONCORD")), colnames(sce))
    expect_true(all(c("concord_class", "concord_class_probability") %in% names(SummarizedExperiment::colData(out))))
    expect_s3_class(GetModel(out), "tutti_model")
    expect_identical(SummarizedExperiment::assay(out, "counts"), SummarizedExperiment::assay(sce, "counts"))
})

test_that("without counts its logcounts are read, as they are", {
    data <- layer_data(pbmc()[["RNA"]], "data")
    sce <- sce_of()
    SummarizedExperiment::assays(sce) <- list(logcounts = data)
    out <- run(sce, "groups", n.features = 0)
    expect_identical(coordinates(out), unname(embed(data)))
    expect_false(summary(GetModel(out))$log1p)
})

test_that("mini-batches follow a given reduced dimension", {
    sce <- sce_of()
    graph <- SeuratObject::Embeddings(pbmc(), "pca")
    SingleCellExperiment::reducedDim(sce, "PCA") <- graph
    out <- run(sce, "groups", preset = "knn", graph.reduction = "PCA", n.features = 0)
    expect_identical(coordinates(out), unname(embed(preset = "knn", graph = graph)))
})
