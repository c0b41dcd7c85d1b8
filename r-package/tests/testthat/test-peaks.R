peaks <- function() {
    x <- matrix(c(1, 2, 4, 8, 0, 0, 16, 0), 4, dimnames = list(c("chr1-900-1000", "chr1:3900-4100", "1_6500_6600", "chr2-10-20"), c("c1", "c2")))
    methods::as(Matrix::Matrix(x, sparse = TRUE), "generalMatrix")
}

# A from 1001 forward, so that 999 to 1000 is upstream; B on the same bases backward, 2000 more at the end; C on another chromosome, D without a peak.
genes <- function() {
    data.frame(
        gene_name = c("A", "B", "C", "D", "L"), chromosome = c("chr1", "chr1", "chr2", "chr2", "chr1"), start = c(1001, 1001, 5, 5000, 1001),
        end = c(5000, 5000, 500, 6000, 5000), strand = c("+", "-", "*", "+", "+"),
        gene_biotype = c("protein_coding", "protein_coding", NA, "protein_coding", "lncRNA")
    )
}

test_that("peaks over a gene and upstream of it are summed", {
    expect_message(counts <- PeaksToGenes(peaks(), genes()), "4 of 4 peaks .* 3 genes, left out: 1 without a peak, 1 of another biotype, 0 too long")
    by_hand <- rbind(A = c(1 + 2, 0), B = c(2 + 4, 16), C = c(8, 0))
    colnames(by_hand) <- c("c1", "c2")
    expect_identical(as.matrix(counts), by_hand)
    expect_identical(rownames(PeaksToGenes(peaks(), genes(), biotypes = NULL, upstream = 0, verbose = FALSE)), c("A", "B", "C", "L"))
    expect_identical(rownames(PeaksToGenes(peaks(), genes(), max.width = 3000, verbose = FALSE)), "C")
    expect_warning(suppressMessages(PeaksToGenes(peaks(), genes()[1:2, ])), "1 chromosomes of peaks have no gene", class = "tutti_warning")
})

test_that("annotations of several shapes and objects give the same", {
    counts <- PeaksToGenes(peaks(), genes(), verbose = FALSE)
    of_gtf <- genes()
    names(of_gtf)[c(2, 6)] <- c("seqnames", "gene_type")
    of_gtf <- rbind(cbind(of_gtf, type = "gene"), cbind(transform(of_gtf, end = start), type = "exon"))
    expect_identical(PeaksToGenes(peaks(), of_gtf, verbose = FALSE), counts)
    # First and last exon of each: the gene is all between them.
    exons <- rbind(transform(genes(), end = start), transform(genes(), start = end))
    exons$type <- "exon"
    expect_identical(PeaksToGenes(peaks(), exons, verbose = FALSE), counts)
    object <- suppressWarnings(SeuratObject::CreateSeuratObject(peaks(), assay = "peaks"))
    object <- PeaksToGenes(object, genes(), new.assay = "activity", verbose = FALSE)
    expect_equal(as.matrix(layer_data(object[["activity"]], "counts")), as.matrix(counts), ignore_attr = TRUE)
    testthat::skip_if_not_installed("SingleCellExperiment")
    testthat::skip_if_not_installed("GenomicRanges")
    ranges <- GenomicRanges::makeGRangesFromDataFrame(genes(), keep.extra.columns = TRUE)
    expect_identical(PeaksToGenes(peaks(), ranges, verbose = FALSE), counts)
    sce <- PeaksToGenes(SingleCellExperiment::SingleCellExperiment(list(counts = peaks())), genes(), verbose = FALSE)
    expect_identical(as.matrix(SummarizedExperiment::assay(SingleCellExperiment::altExp(sce, "gene.activity"))), as.matrix(counts))
})

test_that("what is no annotation is said", {
    refused <- function(x) expect_error(PeaksToGenes(peaks(), x, verbose = FALSE), class = "tutti_error")
    expect_match(conditionMessage(refused(genes()[-1])), "no column `gene_name`")
    expect_match(conditionMessage(refused(transform(genes(), end = 0))), "the first and the last base")
    expect_match(conditionMessage(refused(transform(genes(), chromosome = "chr9"))), "no peak lies over a gene")
})

# Two kinds of cells of unequal depth.
open_peaks <- function(n = 120, d = 200) {
    set.seed(3)
    open <- outer(seq_len(d), seq_len(n), function(j, i) ifelse(i %% 2 == j %% 2, 0.3, 0.06) * (0.3 + (i %/% 2 %% 5) / 2))
    x <- matrix(as.numeric(stats::runif(d * n) < open), d, dimnames = list(paste0("p", seq_len(d)), paste0("c", seq_len(n))))
    methods::as(Matrix::Matrix(x, sparse = TRUE), "generalMatrix")
}

test_that("coordinates are those of a dense decomposition", {
    x <- open_peaks()
    found <- RunPeakLSI(x, n.components = 4, standardise = FALSE, max.depth.correlation = NULL, verbose = FALSE)
    m <- as.matrix(x)
    values <- log1p(t(t(m) / colSums(m)) * (ncol(m) / rowSums(m)) * 1e4)
    exact <- svd(t(values), nu = 4, nv = 4)
    expect_equal(attr(found, "singular.values"), exact$d[1:4], tolerance = 1e-4)
    # Signs of a singular vector are free.
    for (k in 1:3) {
        expect_gt(abs(stats::cor(found[, k], exact$u[, k])), 0.999)
        expect_equal(sqrt(sum(found[, k]^2)), exact$d[[k]], tolerance = 1e-3)
    }
    depth <- log(colSums(m))
    expect_equal(attr(found, "depth.correlation"), unname(apply(exact$u, 2, stats::cor, depth)) * sign(colSums(unname(found) * exact$u)), tolerance = 0.02)
})

test_that("the dimension of depth is left out, and objects keep the rest", {
    x <- open_peaks()
    expect_message(found <- RunPeakLSI(x, n.components = 5), "is left out", class = "tutti_message")
    expect_true(attr(found, "first.left.out"))
    expect_identical(dim(found), c(120L, 4L))
    expect_equal(unname(apply(found, 2, stats::sd)), rep(1, 4), tolerance = 1e-4)
    expect_gt(abs(stats::cor(found[, 1], rep(c(1, 2), 60))), 0.85)
    object <- suppressWarnings(SeuratObject::CreateSeuratObject(x, assay = "peaks"))
    object <- RunPeakLSI(object, n.components = 5, verbose = FALSE)
    expect_identical(coordinates(object, "lsi"), unname(found[, ]))
    expect_identical(SeuratObject::Misc(object[["lsi"]], "depth.correlation"), attr(found, "depth.correlation"))
    expect_error(RunPeakLSI(x, n.components = 500, verbose = FALSE), "between 1 and 120", class = "tutti_error_argument")
    testthat::skip_if_not_installed("SingleCellExperiment")
    sce <- RunPeakLSI(SingleCellExperiment::SingleCellExperiment(list(counts = x)), n.components = 5, verbose = FALSE)
    expect_identical(coordinates(sce, "lsi"), unname(found[, ]))
})
