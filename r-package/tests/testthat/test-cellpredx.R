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

test_that("cells are compared by the metric of the start", {
    pair <- pair()
    labels <- factor(pair$reference$cell_type)
    asked <- c(
        check_limits(0.2, 0.05, NULL, NULL, TRUE, "overall"), list(labels = labels, finer = NULL, n_neighbors = 15, metric = "cosine", seed = 42, threads = 1)
    )
    unit <- function(x) x / sqrt(rowSums(x^2))
    distances <- list(
        euclidean = function(x, y) sqrt(pmax(outer(rowSums(x^2), rowSums(y^2), "+") - 2 * x %*% t(y), 0)),
        cosine = function(x, y) 1 - unit(x) %*% t(unit(y))
    )
    difference <- function(query, metric) {
        z <- MapToReference(pair$reference, GetModel(query), verbose = FALSE)
        z <- coordinates(z, "ref.concord")
        of_query <- coordinates(query, "cellpredx")
        # Those that are held out are drawn by their labels and the seed alone.
        voters <- call_rust(rust_annotate_votes, z, of_query, asked)$voters
        nearest <- function(x) apply(distances[[metric]](x, z[voters, ]), 1, function(d) mean(sort(d)[1:15]))
        usual <- nearest(z[setdiff(seq_along(labels), voters), ])
        novelty <- vapply(nearest(of_query), function(d) mean(usual < d), 0)
        mean(abs(novelty - query$predicted.cell_type.novelty))
    }
    for (preset in c("default", "paper", "reference-code")) {
        query <- annotated(pair, preset = preset)
        by <- vapply(names(distances), function(metric) difference(query, metric), 0)
        right <- if (preset == "default") "euclidean" else "cosine"
        expect_lt(by[[right]], 0.001, label = preset)
        expect_gt(by[[setdiff(names(by), right)]], 0.01, label = preset)
    }
    expect_lt(difference(annotated(pair, start = "random"), "cosine"), 0.001)
})

test_that("limits are one's own or none", {
    pair <- pair()
    expect_false(any(annotated(pair, reject = FALSE)$predicted.cell_type.unknown))
    strict <- annotated(pair, min.probability = 0.999, max.novelty = 1)
    expect_identical(unname(strict$predicted.cell_type.unknown), unname(strict$predicted.cell_type.score < 0.999))
})

test_that("limits by class are those of the class that a cell is called", {
    pair <- pair()
    query <- annotated(pair, held.out = 0.5, false.rejection.rate = 0.4, limits = "by-class")
    limits <- SeuratObject::Misc(query[["cellpredx"]], "limits")
    expect_identical(limits$by_class$class, levels(query$predicted.cell_type))
    # A rate of 0.2 for each of the two limits needs four cells.
    expect_true(all(limits$by_class$n_held_out >= 4))
    own <- limits$by_class[match(as.character(query$predicted.cell_type), limits$by_class$class), ]
    novel <- query$predicted.cell_type.novelty > own$max_novelty
    doubted <- query$predicted.cell_type.score < own$min_probability
    expect_identical(unname(query$predicted.cell_type.unknown), unname(novel | doubted))
    expect_identical(unname(query$predicted.cell_type.reason == "novel"), unname(ifelse(novel, TRUE, ifelse(doubted, FALSE, NA))))
    expect_gt(length(unique(limits$by_class$max_novelty)), 1)
    overall <- annotated(pair, held.out = 0.5, false.rejection.rate = 0.4)
    expect_null(SeuratObject::Misc(overall[["cellpredx"]], "limits")$by_class)
    expect_identical(overall$predicted.cell_type.score, query$predicted.cell_type.score)
    # Too few held-out cells for the default rate.
    expect_warning(
        RunCellPredX(pair$query, pair$reference, "cell_type", scenario = "rna-to-rna", n_steps = 20, limits = "by-class", verbose = FALSE),
        "fewer than 39 held-out cells", class = "tutti_warning"
    ) |> suppressWarnings()
    expect_error(annotated(pair, limits = "by-class", reject = FALSE), "no limit is chosen", class = "tutti_error_argument")
    expect_error(annotated(pair, limits = "each"), "by-class", class = "tutti_error_argument")
})

test_that("finer labels keep to the type, and a table of orthologues joins other names", {
    pair <- pair()
    # The halves of a type that a gene tells apart best.
    values <- as.matrix(layer_data(pair$reference[["RNA"]], "data"))
    pair$reference$finer <- paste(pair$reference$cell_type, ifelse(values[1, ] > stats::median(values[1, ]), "high", "low"))
    query <- annotated(pair, finer.by = "finer")
    finer <- as.character(query$predicted.finer)
    expect_identical(sub(" (high|low)$", "", finer), as.character(query$predicted.cell_type))
    expect_true(all(query$predicted.finer.score >= 0.5 - 1e-6 & query$predicted.finer.score <= 1 + 1e-6))

    renamed <- as.matrix(layer_data(pair$query[["RNA"]], "data"))
    genes <- rownames(renamed)
    rownames(renamed) <- paste0("other", seq_along(genes))
    table <- data.frame(query = rownames(renamed), reference = genes, more = 1)
    labels <- stats::setNames(as.character(pair$reference$cell_type), colnames(pair$reference))
    run <- function(x, ...) suppressWarnings(RunCellPredX(x, values, labels, scenario = "rna-to-rna", n_steps = 100, verbose = FALSE, ...))
    through <- run(renamed, orthologues = table)
    expect_identical(through$features, genes)
    expect_identical(unname(through$embedding), unname(SeuratObject::Embeddings(query, "cellpredx")))
    expect_identical(as.character(through$annotation$predicted.label), unname(as.character(query$predicted.cell_type)))
    expect_error(run(renamed), "share 0", class = "tutti_error")
    expect_error(run(renamed, orthologues = table["query"]), "first two columns", class = "tutti_error_argument")
})

test_that("hits of known markers are counted", {
    pair <- pair()
    query <- annotated(pair, reject = FALSE)
    classes <- levels(query$predicted.cell_type)
    known <- data.frame(class = rep(classes[1:2], each = 30), gene = c(rownames(query)[1:30], rownames(query)[31:60]))
    genes <- DeterminantGenes(query, n.genes = 20, markers = known)
    hits <- attr(genes, "hit.rate")
    by_hand <- vapply(classes[1:2], function(k) length(intersect(known$gene[known$class == k], genes$gene[genes$class == k])), 0L)
    expect_identical(hits$class, classes[1:2])
    expect_equal(hits$n_hits, unname(by_hand), ignore_attr = TRUE)
    expect_equal(hits$rate, unname(by_hand) / 30)
    expect_equal(hits$chance, rep(20 / nrow(query), 2))
    expect_identical(sum(genes$marker), sum(by_hand))
    expect_warning(DeterminantGenes(query, n.genes = 20, markers = rbind(known, c("new", "x"))), "left out.*new", class = "tutti_warning")
    expect_error(DeterminantGenes(query, markers = "INS"), "first two columns", class = "tutti_error_argument")
})

test_that("genes of each cell are told, from no expression or from the mean", {
    pair <- pair()
    query <- annotated(pair)
    genes <- DeterminantGenes(query, n.top = 6, by.cell = TRUE)
    expect_identical(colnames(genes), c("cell", "class", "gene", "attribution"))
    kept <- colnames(query)[!query$predicted.cell_type.unknown]
    expect_identical(unique(genes$cell), kept)
    expect_true(all(table(genes$cell) == 6))
    expect_identical(genes$class, as.character(query$predicted.cell_type[match(genes$cell, colnames(query))]))
    expect_false(any(tapply(abs(genes$attribution), genes$cell, function(x) is.unsorted(rev(x)))))
    # Counted by class, they are what the table of classes has.
    classes <- DeterminantGenes(query, n.top = 6, n.genes = 3)
    share <- function(class, gene) {
        of_class <- genes$class == class
        sum(genes$gene[of_class] == gene) / length(unique(genes$cell[of_class]))
    }
    expect_equal(mapply(share, classes$class, classes$gene, USE.NAMES = FALSE), classes$frequency, tolerance = 1e-6)
    mean <- DeterminantGenes(query, n.top = 6, by.cell = TRUE, gene.baseline = "mean")
    expect_false(identical(mean$gene, genes$gene))
    expect_identical(nrow(DeterminantGenes(query, n.top = 2, by.cell = TRUE, max.cells = 1)), 2L * length(unique(genes$class)))
    expect_error(DeterminantGenes(query, gene.baseline = "median"), "`zero` or `mean`", class = "tutti_error_argument")
    expect_error(DeterminantGenes(query, by.cell = TRUE, markers = data.frame("a", "b")), "leave one of them out", class = "tutti_error_argument")
})

test_that("labels are smoothed, values binarised and empty labels left out where that is asked for", {
    pair <- pair()
    plain <- annotated(pair, reject = FALSE)
    smooth <- annotated(pair, reject = FALSE, smooth = 10)
    changed <- sum(plain$predicted.cell_type != smooth$predicted.cell_type)
    expect_identical(SeuratObject::Misc(smooth[["cellpredx"]], "limits")$n_smoothed, as.numeric(changed))
    expect_null(SeuratObject::Misc(plain[["cellpredx"]], "limits")$n_smoothed)
    expect_error(annotated(pair, smooth = 2), "`smooth` must be a whole number of 3 or more", class = "tutti_error_argument")
    expect_error(annotated(pair, smooth = 5000), "`smooth` is 5000 and the query has", class = "tutti_error_argument")

    binary <- annotated(pair, normalize = "binarize")
    expect_false(identical(binary$predicted.cell_type.score, plain$predicted.cell_type.score))
    expect_error(annotated(pair, normalize = "log"), "`log-normalize` or `binarize`", class = "tutti_error_argument")
    expect_error(annotated(pair, normalize = "log-normalize"), "are no counts", class = "tutti_error_argument")

    gaps <- pair
    gaps$reference$cell_type <- as.character(gaps$reference$cell_type)
    gaps$reference$cell_type[1:9] <- ""
    expect_warning(
        named <- RunCellPredX(gaps$query, gaps$reference, "cell_type", scenario = "rna-to-rna", n_steps = 20, reject = FALSE, verbose = FALSE),
        "9 reference cells have an empty text as `cell_type`", class = "tutti_warning"
    ) |> suppressWarnings()
    expect_identical(levels(named$predicted.cell_type), levels(plain$predicted.cell_type))
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
