# 300 cells of ten clones that remember many genes, on days 2, 4 and 6; every fifth barcode was not read.
clones <- function(n_cells = 300) {
    object <- SimulateCells("lineage", n_cells = n_cells, n_genes = 120, structure = list(
        kind = "lineage", n_clones = 10, clone_spread = 0.3, memory = 1, memory_gene_fraction = 0.08, n_fates = 3, fate_concentration = 0.3
    ))
    object$barcode <- as.character(object$barcode)
    object
}

lcl <- function(object, lineage.by = "barcode", ..., n_epochs = 3, latent_dim = 6, lr = 0.003, n_pairs = 10) {
    RunLCL(object, lineage.by, ..., n_epochs = n_epochs, latent_dim = latent_dim, lr = lr, n_pairs = n_pairs, encoder_dims = c(32, 16), accumulate = 1, size_factor = 0.1, weight_decay = 0.3, verbose = FALSE)
}

test_that("held-out cells find their clone more often than in principal components", {
    object <- SimulateCells("lineage", n_cells = 1000, n_genes = 300, structure = list(
        kind = "lineage", n_clones = 15, clone_spread = 0.3, memory = 0.7, memory_gene_fraction = 0.025, n_fates = 12, fate_concentration = 5
    ))
    set.seed(1)
    test <- stats::runif(1000) < 0.2
    trained <- RunLCL(
        object[, !test], "clone", n.features = 0, encoder_dims = c(64, 32), n_epochs = 20, n_pairs = 15, accumulate = 1, lr = 1e-3,
        size_factor = 0.15, weight_decay = 0.3, entropy_weight = 0, verbose = FALSE
    )
    query <- MapToReference(object[, test], trained, verbose = FALSE)
    counts <- t(as.matrix(counts_of(object)))
    pca <- stats::prcomp(log1p(1e4 * counts / rowSums(counts)))$x[, 1:30]
    clone <- as.character(object$clone)
    named <- function(known, asked) mean(TransferLabels(known, clone[!test], asked)$predicted.id == clone[test])
    expect_gt(named(coordinates(trained, "lcl"), coordinates(query, "ref.concord")), named(pca[!test, ], pca[test, ]) + 0.05)
})

test_that("a column, a vector and a matrix of cells x clones give the same bits, in any object", {
    object <- clones()
    of_seurat <- lcl(object, n.features = 0)
    counts <- counts_of(object)
    barcode <- stats::setNames(object$barcode, colnames(object))
    expect_identical(unname(lcl(counts, rev(barcode), n.features = 0)$embedding), coordinates(of_seurat, "lcl"))
    read <- !is.na(barcode) & nzchar(barcode)
    # In the order in which the column's levels are.
    levels <- natural_order(unique(barcode[read]))
    matrix <- vapply(levels, function(l) as.numeric(read & barcode == l), numeric(300))
    rownames(matrix) <- colnames(object)
    expect_identical(coordinates(lcl(object, matrix[300:1, ], n.features = 0), "lcl"), coordinates(of_seurat, "lcl"))
    sparse <- as(matrix, "CsparseMatrix")
    expect_identical(unname(lcl(counts, sparse, n.features = 0)$embedding), coordinates(of_seurat, "lcl"))
    expect_identical(coordinates(lcl(object, threads = 1, n.features = 0), "lcl"), coordinates(of_seurat, "lcl"))
    expect_gt(max(abs(coordinates(lcl(object, seed.use = 1, n.features = 0), "lcl") - coordinates(of_seurat, "lcl"))), 0.01)
    # Of length 1.
    expect_equal(rowSums(coordinates(of_seurat, "lcl")^2), rep(1, 300), tolerance = 1e-5)
})

test_that("the object comes back with a reduction, its model, a log, and what the model was trained on", {
    object <- lcl(clones(), reduction.name = "kin", reduction.key = "KIN_")
    expect_identical(colnames(SeuratObject::Embeddings(object, "kin")), paste0("KIN_", 1:6))
    expect_identical(object[["RunLCL.RNA"]]@params$lineage.by, "barcode")
    info <- summary(GetModel(object))
    expect_identical(info$system, "lcl")
    expect_identical(info$lineages$n_lineages, 10)
    expect_identical(info$settings$encoder_dims, c(32, 16))
    expect_identical(nrow(TrainingHistory(object)), 3L)
    expect_output(print(GetModel(object)), "LCL model: 120 features to 6 dimensions, trained for 3 epochs on 10 lineages", fixed = TRUE)
    file <- tempfile(fileext = ".safetensors")
    SaveTutti(GetModel(object), file)
    expect_identical(LoadTutti(file), GetModel(object))
    expect_error(CorrectExpression(object), class = "tutti_error_argument")
    expect_error(GeneAttribution(object), class = "tutti_error_argument")
})

test_that("a SingleCellExperiment gets the same coordinates", {
    testthat::skip_if_not_installed("SingleCellExperiment")
    object <- clones()
    sce <- SingleCellExperiment::SingleCellExperiment(list(counts = counts_of(object)), colData = S4Vectors::DataFrame(object[[]]))
    sce <- lcl(sce, n.features = 0)
    object <- lcl(object, n.features = 0)
    expect_identical(coordinates(sce, "lcl"), coordinates(object, "lcl"))
    fates <- function(x) PredictFate(x, "barcode", "day", "cell_type", min.final = 3, verbose = FALSE)
    of_sce <- SummarizedExperiment::colData(fates(sce))
    of_seurat <- fates(object)[[]]
    fate <- grep("^fate_", colnames(of_seurat), value = TRUE)
    expect_identical(as.data.frame(of_sce)[fate], of_seurat[fate])
    expect_identical(S4Vectors::metadata(fates(sce))$fate$n.early, SeuratObject::Misc(fates(object), "fate")$n.early)
    expect_identical(LineageGenes(sce, "barcode"), LineageGenes(object, "barcode"))
})

test_that("held-out cells are told, with what their neighbours say of their lineage, and what mode that was", {
    object <- clones()
    held <- lcl(object, n.features = 0, hold.out = "within", test.share = 0.2)
    split <- held$lcl_split
    expect_identical(levels(split), c("test", "train", "without barcode"))
    read <- !is.na(object$barcode) & nzchar(object$barcode)
    expect_identical(unname(split == "without barcode"), unname(!read))
    error <- SeuratObject::Misc(held[["lcl"]], "lineage.error")
    expect_identical(rownames(error), c("lcl", "pca"))
    expect_identical(error$n.test, rep(as.numeric(sum(split == "test")), 2))
    expect_true(all(error$error >= 0 & error$error <= 1 & error$mode == "inductive"))
    # The model counts test cells among those without a barcode; their expression is seen where asked for.
    expect_identical(summary(GetModel(held))$lineages$n_without, as.numeric(sum(split != "train")))
    seen <- lcl(object, n.features = 0, hold.out = "within", test.share = 0.2, mode = "transductive")
    expect_identical(SeuratObject::Misc(seen[["lcl"]], "lineage.error")$mode, rep("transductive", 2))
    expect_false(identical(coordinates(seen, "lcl"), coordinates(held, "lcl")))
    expect_warning(lcl(object, mode = "transductive"), "no test cells are held out", class = "tutti_warning")

    expect_warning(
        whole <- lcl(counts_of(object), unname(object$barcode), n.features = 0, hold.out = "whole", test.share = 0.3),
        "7 lineages have two cells or more", class = "tutti_warning"
    )
    expect_identical(length(unique(object$barcode[whole$split == "test"])), 3L)
    expect_lt(whole$lineage.error["lcl", "n.test"], sum(whole$split == "test"))
    testthat::skip_if_not_installed("SingleCellExperiment")
    sce <- SingleCellExperiment::SingleCellExperiment(list(counts = counts_of(object)), colData = S4Vectors::DataFrame(object[[]]))
    sce <- lcl(sce, n.features = 0, hold.out = "within", test.share = 0.2)
    expect_identical(S4Vectors::metadata(sce)$tutti$LCL$lineage.error, error)
    expect_identical(as.character(sce$lcl_split), as.character(split))
})

test_that("cells without a barcode of another object train the entropy penalty and are not embedded", {
    object <- clones()
    object$clone <- as.character(object$clone)
    more <- counts_of(clones())[, 1:40]
    expect_warning(without <- lcl(object, "clone", n_unlabelled = 5), "entropy penalty on cells without one is left out", class = "tutti_warning")
    with <- lcl(object, "clone", n_unlabelled = 5, unlabelled = more)
    expect_identical(ncol(with), 300L)
    expect_false(identical(coordinates(with, "lcl"), coordinates(without, "lcl")))
    expect_true("entropy" %in% names(TrainingHistory(with)))
    expect_false("entropy" %in% names(TrainingHistory(without)))
})

test_that("fates of lineages held out are told, and those of all cells, by any embedding", {
    set.seed(1)
    lineage <- rep(paste0("clone", 1:10), each = 20)
    day <- rep(c(2, 6), 100)
    fate <- ifelse(day == 2, "stem", ifelse(lineage %in% paste0("clone", 1:5), "A", "B"))
    z <- cbind(ifelse(lineage %in% paste0("clone", 1:5), -1, 1), stats::rnorm(200))
    out <- PredictFate(z, lineage, day, fate, verbose = FALSE)
    expect_identical(dimnames(out$shares), list(NULL, c("A", "B")))
    expect_equal(rowSums(out$shares), rep(1, 200), tolerance = 1e-5)
    expect_identical(out$shares[, "A"] > 0.5, z[, 1] < 0)
    expect_identical(out$held.out$right, 1)
    expect_lt(out$held.out$kl, 0.3 * out$held.out$kl_of_mean)
    expect_identical(c(out$n.early, out$n.lineages), c(100, 10))
    # By name, and with days as texts.
    rownames(z) <- paste0("cell", 1:200)
    named <- function(x) stats::setNames(x, rownames(z))[200:1]
    again <- PredictFate(z, named(lineage), named(paste0("day", ifelse(day == 2, 2, 10))), named(fate), final = "day10", threads = 1, verbose = FALSE)
    expect_identical(unname(again$shares), unname(out$shares))
    expect_message(PredictFate(z, lineage, day, fate), "fates from 100 early cells of 10 lineages", class = "tutti_message")

    object <- PredictFate(lcl(clones(), n.features = 0), "barcode", "day", "cell_type", min.final = 3, verbose = FALSE)
    shares <- object[[grep("^fate_", colnames(object[[]]), value = TRUE)]]
    expect_gte(ncol(shares), 2)
    expect_equal(unname(rowSums(shares)), rep(1, 300), tolerance = 1e-5)
    expect_identical(SeuratObject::Misc(object, "fate")$n.lineages, 10)
})

test_that("genes that clones remember are found", {
    object <- clones()
    genes <- LineageGenes(lcl(object, n.features = 0), "barcode", min.cells = 12, max.lineages = 4, n.steps = 50)
    expect_identical(rownames(genes), rownames(object))
    expect_identical(colnames(genes)[[1]], "all")
    expect_identical(ncol(genes), 5L)
    expect_equal(unname(genes[, "all"]), unname(rowMeans(genes[, -1])), tolerance = 1e-6)
    expect_lt(max(attr(genes, "completeness.error")), 0.05)
    sizes <- table(object$barcode[nzchar(object$barcode)])
    expect_false(is.unsorted(rev(as.numeric(sizes[colnames(genes)[-1]]))))
    counts <- counts_of(object)
    barcode <- stats::setNames(object$barcode, colnames(object))
    of_matrix <- LineageGenes(counts, barcode, model = lcl(counts, barcode, n.features = 0), min.cells = 12, max.lineages = 4, n.steps = 50)
    expect_identical(of_matrix, genes)
})

test_that("gradients from the mean of the cells find other genes", {
    object <- lcl(clones(), n.features = 0)
    genes <- function(baseline) LineageGenes(object, "barcode", min.cells = 12, max.lineages = 2, n.steps = 50, gene.baseline = baseline)
    zero <- genes("zero")
    mean <- genes("mean")
    expect_identical(dimnames(mean), dimnames(zero))
    expect_gt(max(abs(mean - zero)), 1e-3)
    expect_lt(max(attr(mean, "completeness.error")), 0.05)
    expect_error(genes("median"), "`zero` or `mean`", class = "tutti_error_argument")
})

test_that("pairs of one lineage are told by an embedding where lineages lie together", {
    set.seed(2)
    lineage <- rep(paste0("clone", 1:8), each = 12)
    centre <- matrix(stats::rnorm(8 * 6), 8)[rep(1:8, each = 12), ]
    near <- centre + stats::rnorm(96 * 6, sd = 0.2)
    rownames(near) <- paste0("cell", 1:96)
    found <- LineagePairs(near, lineage, sizes = c(4, 12))
    scores <- found$scores
    expect_identical(names(scores), c("auprc", "auroc", "chance", "n.cells", "n.pairs"))
    expect_equal(scores$chance, 11 / 95)
    expect_equal(c(scores$n.cells, scores$n.pairs), c(96, 96 * 95 / 2))
    expect_gt(scores$auprc, 0.8)
    # By hand from the table of pairs; those without votes come last, together.
    pairs <- found$pairs
    expect_identical(pairs$same.lineage, lineage[match(pairs$cell.a, rownames(near))] == lineage[match(pairs$cell.b, rownames(near))])
    expect_false(is.unsorted(rev(pairs$votes)))
    expect_true(all(pairs$votes >= 1 & pairs$votes <= 100))
    votes <- c(pairs$votes, rep(0, scores$n.pairs - nrow(pairs)))
    n_related <- 8 * choose(12, 2)
    related <- c(pairs$same.lineage, rep(c(TRUE, FALSE), c(n_related - sum(pairs$same.lineage), length(votes) - nrow(pairs) - n_related + sum(pairs$same.lineage))))
    expect_equal(scores$auroc, (sum(rank(votes)[related]) - n_related * (n_related + 1) / 2) / (n_related * (length(votes) - n_related)), tolerance = 1e-6)
    # Noise tells nothing.
    noise <- matrix(stats::rnorm(96 * 6), 96)
    expect_lt(LineagePairs(noise, lineage, sizes = c(4, 12))$scores$auprc, 0.25)
    # Cells that were held out, of an object.
    some <- rownames(near)[rep(c(TRUE, FALSE), 48)]
    expect_identical(LineagePairs(near, lineage, cells = some, sizes = c(3, 6))$scores$n.cells, 48)
    held <- lcl(clones(), n.features = 0, hold.out = "within", test.share = 0.3)
    test <- colnames(held)[held$lcl_split == "test"]
    of_object <- LineagePairs(held, "barcode", cells = test, sizes = c(3, 30))
    expect_true(all(c(of_object$pairs$cell.a, of_object$pairs$cell.b) %in% test))
    z <- SeuratObject::Embeddings(held, "lcl")
    expect_identical(LineagePairs(z, stats::setNames(held$barcode, colnames(held)), cells = test, sizes = c(3, 30), threads = 1), of_object)
    expect_error(LineagePairs(near, lineage, sizes = c(12, 4)), "the smaller first", class = "tutti_error_argument")
    expect_error(LineagePairs(near, lineage, sizes = 4), "`sizes` must be two numbers", class = "tutti_error_argument")
    expect_error(LineagePairs(near, lineage, cells = "cell0"), "1 names that the object lacks \\(first: cell0\\)", class = "tutti_error_argument")
    expect_error(LineagePairs(near, paste(seq_len(96))), "no two of the cells", class = "tutti_error_data")
})

test_that("the final time is no early one", {
    object <- lcl(clones(), n.features = 0)
    expect_error(
        PredictFate(object, "barcode", "day", "cell_type", early = "6", final = "6", verbose = FALSE),
        "`early` has the final time `6`", class = "tutti_error_argument"
    )
})

test_that("settings have the names, defaults and checks of training", {
    expect_identical(LCLSettings()[c("latent_dim", "n_pairs", "temperature")], list(latent_dim = 32, n_pairs = 25, temperature = 0.5))
    expect_identical(LCLSettings("larry")$n_pairs, 260)
    expect_identical(LCLSettings(latent_dim = 16)$latent_dim, 16)
})

test_that("what does not fit is named", {
    object <- clones()
    z <- matrix(stats::rnorm(600), 300)
    day <- as.numeric(object$day)
    barcode <- unname(object$barcode)
    fate <- unname(as.character(object$cell_type))
    expect_snapshot({
        refusal(RunLCL(pbmc()))
        refusal(lcl(object, "barcodes"))
        refusal(lcl(object, matrix(1, 10, 2)))
        refusal(lcl(object, c("barcode", "clone")))
        refusal(lcl(counts_of(object), rep("one", 300)))
        refusal(lcl(counts_of(object), 1:3))
        refusal(lcl(object, preset = "celltag"))
        refusal(lcl(object, n_pair = 3))
        refusal(lcl(object, hold.out = "half"))
        refusal(lcl(object, hold.out = "whole", test.share = 0.01))
        refusal(LCLSettings(temperature = -1))
        refusal(PredictFate(z, barcode, rep(2, 300), fate))
        refusal(PredictFate(z, barcode, day, fate, early = 3))
        refusal(PredictFate(z, barcode, day, fate, min.final = 1000))
        refusal(PredictFate(z, barcode, day, fate[1:3]))
        refusal(PredictFate(z[1:3, ], barcode, day, fate))
        refusal(PredictFate(object, "barcode", "day", "cell_type"))
        refusal(LineageGenes(object, "barcode"))
        refusal(LineageGenes(lcl(object), "barcode", min.cells = 1000))
        refusal(LineageGenes(run(pbmc(), "groups"), "groups"))
    })
})
