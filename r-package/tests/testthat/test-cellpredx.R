# Four clusters in the reference, five in the query, which is of another batch.
pair <- function() {
    cells <- SimulateCells("five_clusters_two_batches", n_cells = 400, n_genes = 100)
    types <- levels(factor(cells$cell_type))
    list(
        reference = cells[, cells$batch == levels(factor(cells$batch))[[1]] & cells$cell_type != types[[5]]],
        query = cells[, cells$batch == levels(factor(cells$batch))[[2]]],
        novel = types[[5]]
    )
}

annotated <- function(pair, ...) {
    suppressWarnings(RunCellPredX(pair$query, pair$reference, label.by = "cell_type", scenario = "rna-to-rna", n_steps = 100, verbose = FALSE, ...))
}

test_that("a query is named and its new type is doubted", {
    pair <- pair()
    query <- annotated(pair)
    known <- query$cell_type != pair$novel
    expect_gt(mean(as.character(query$predicted.cell_type)[known] == as.character(query$cell_type)[known]), 0.9)
    expect_gt(mean(query$predicted.cell_type.score[known]), mean(query$predicted.cell_type.score[!known]))
    expect_identical(query$predicted.cell_type.unknown, !is.na(query$predicted.cell_type.reason))
    expect_identical(dim(SeuratObject::Embeddings(query, "cellpredx")), c(ncol(query), 64L))
    expect_identical(levels(query$predicted.cell_type), setdiff(levels(factor(pair$reference$cell_type)), pair$novel))
    expect_identical(GetModel(query)$system, "cellpredx")
    expect_match(paste(utils::capture.output(print(GetModel(query))), collapse = " "), "CELLPREDX model")
    expect_true(all(c("classification", "nt_xent", "gate_mean") %in% colnames(TrainingHistory(query))))
    genes <- DeterminantGenes(query, n.genes = 7)
    expect_identical(colnames(genes), c("class", "gene", "frequency", "attribution"))
    expect_true(all(table(genes$class) == 7) && all(genes$gene %in% rownames(query)))
})

test_that("matrices, objects, threads and a file give the same", {
    pair <- pair()
    query <- annotated(pair, threads = 1)
    # Simulated with normal noise: values that are no counts.
    values <- function(object) layer_data(object[["RNA"]], "data")
    out <- suppressWarnings(RunCellPredX(
        values(pair$query), values(pair$reference), stats::setNames(as.character(pair$reference$cell_type), colnames(pair$reference)),
        scenario = "rna-to-rna", n_steps = 100, verbose = FALSE, threads = 2
    ))
    expect_identical(unname(out$embedding), unname(SeuratObject::Embeddings(query, "cellpredx")))
    expect_identical(out$annotation$predicted.label.score, unname(query$predicted.cell_type.score))
    file <- tempfile(fileext = ".safetensors")
    SaveTutti(GetModel(query), file)
    expect_identical(LoadTutti(file)$raw, GetModel(query)$raw)
})

test_that("limits are one's own or none", {
    pair <- pair()
    expect_false(any(annotated(pair, reject = FALSE)$predicted.cell_type.unknown))
    strict <- annotated(pair, min.probability = 0.999, max.novelty = 1)
    expect_identical(unname(strict$predicted.cell_type.unknown), unname(strict$predicted.cell_type.score < 0.999))
})

test_that("what is wrong is said", {
    pair <- pair()
    expect_error(annotated(pair, preset = "best"), "reference-code", class = "tutti_error_argument")
    expect_error(annotated(pair, n_stepps = 3), "n_steps", class = "tutti_error_argument")
    expect_error(RunCellPredX(pair$query, counts_of(), "cell_type"), "give a Seurat object", class = "tutti_error")
    expect_error(annotated(pair, batch.by = "nowhere"), "neither query nor reference", class = "tutti_error")
    expect_error(CellPredXSettings(scenario = "protein"), "atac-to-atac", class = "tutti_error_argument")
    expect_identical(CellPredXSettings(scenario = "unmatched-rna-to-atac")$n_steps, 3000)
})
