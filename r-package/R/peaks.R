#' From peaks to genes
#'
#' Activity of genes from open chromatin: the sum of the counts of all peaks that lie over a gene or shortly before it, as Signac's `GeneActivity()` sums fragments.
#' No fragment file is needed. With it a reference of RNA names cells of ATAC ([RunCellPredX()]).
#'
#' Chromosomes are the same with and without `chr`. A peak over several genes counts for each; genes of one name are one. Genes without a peak are left out.
#'
#' @param object Counts of peaks: a Seurat object, a SingleCellExperiment or a matrix of peaks x cells, with peaks named `chr1-100-200`, `chr1:100-200` or
#'   `chr1_100_200`.
#' @param annotation Genes of the same genome: a GRanges, such as `rtracklayer::import("genes.gtf")` or Signac's `Annotation(object)`, or a data frame with the columns
#'   `gene_name`, `chromosome` (or `seqnames`), `start`, `end` (first and last base, from 1), and where known `strand` and `gene_biotype` (or `gene_type`). Of rows with
#'   a column `type` those of `gene` are taken; where there are none, a gene reaches from the first to the last base of its rows.
#' @param upstream,downstream Bases before and behind a gene that count as well, in the direction of reading.
#' @param biotypes Genes of these biotypes; `NULL` takes all. Genes without a biotype are always taken.
#' @param max.width Longest gene in bases; `NULL` takes all.
#' @param new.assay Name of the new assay.
#' @param assay,layer Assay and layer to read.
#' @param verbose Say how many peaks and genes were joined?
#' @return The object with an assay `new.assay` of genes (SingleCellExperiment: an alternative experiment); for a matrix, a sparse matrix of genes x cells.
#' @examples
#' peaks <- Matrix::sparseMatrix(
#'     i = c(1, 2, 3), j = c(1, 1, 2), x = c(2, 1, 4),
#'     dimnames = list(c("chr1-900-1000", "chr1-5000-5100", "chr2-10-20"), c("cell1", "cell2"))
#' )
#' genes <- data.frame(
#'     gene_name = c("A", "B"), chromosome = c("chr1", "chr2"),
#'     start = c(1001, 5), end = c(6000, 500), strand = "+"
#' )
#' PeaksToGenes(peaks, genes)
#' @family transfer
#' @export
PeaksToGenes <- function(object, annotation, upstream = 2000, downstream = 0, biotypes = "protein_coding", max.width = 500000,
                         new.assay = "gene.activity", assay = NULL, layer = NULL, verbose = TRUE) {
    call <- rlang::current_env()
    input <- peaks_input(object, assay, layer, call)
    options <- list(
        upstream = check_count(upstream, least = 0), downstream = check_count(downstream, least = 0),
        biotypes = if (!is.null(biotypes)) as.character(biotypes), max_width = check_count(max.width, null = TRUE)
    )
    out <- call_rust(rust_gene_activity, input, annotation_genes(annotation, call), options)
    counts <- new(
        "dgCMatrix", p = out$counts$p, i = out$counts$i, x = out$counts$x, Dim = out$counts$dim, Dimnames = list(out$genes, input$cells)
    )
    if (check_flag(verbose)) {
        message <- "%g of %g peaks lie over a gene or its %g bases upstream; %d genes, left out: %g without a peak, %g of another biotype, %g too long"
        values <- out[c("n_peaks_used", "n_peaks")]
        others <- out[c("n_without_peak", "n_other_biotype", "n_too_wide")]
        inform(do.call(sprintf, unname(c(list(message), values, list(options$upstream, nrow(counts)), others))), class = "tutti_message")
        if (length(out$chromosomes_without_gene) > 0) {
            warn_tutti(sprintf("%d chromosomes of peaks have no gene in the annotation (first: %s)", length(out$chromosomes_without_gene), out$chromosomes_without_gene[[1]]))
        }
    }
    if (methods::is(object, "Seurat")) {
        object[[new.assay]] <- new_assay(counts[, colnames(object), drop = FALSE], new.assay, counts = TRUE)
        return(object)
    }
    if (methods::is(object, "SingleCellExperiment")) {
        activity <- SingleCellExperiment::SingleCellExperiment(list(counts = counts[, colnames(object), drop = FALSE]))
        SingleCellExperiment::altExp(object, new.assay) <- activity
        return(object)
    }
    counts
}

peaks_input <- function(object, assay, layer, call) {
    if (methods::is(object, "Seurat")) {
        return(seurat_input(object, assay, layer, list(), call))
    }
    if (methods::is(object, "SingleCellExperiment")) {
        return(sce_input(object, assay, list(), call))
    }
    cells_input(list(object), call = call)
}

# Columns of genes as Rust takes them.
annotation_genes <- function(x, call) {
    table <- tryCatch(as.data.frame(x, row.names = NULL), error = function(e) NULL)
    pick <- function(names) {
        there <- intersect(names, colnames(table))
        if (length(there) > 0) table[[there[[1]]]]
    }
    names <- list(
        name = c("gene_name", "symbol", "gene", "name", "gene_id"), chromosome = c("chromosome", "seqnames", "chrom"), start = "start", end = "end"
    )
    for (column in names(names)) {
        if (is.null(pick(names[[column]]))) {
            message <- "`annotation` has no column `%s`; give a GRanges or a data frame with gene_name, chromosome, start and end."
            abort_tutti("argument", sprintf(message, names[[column]][[1]]), call)
        }
    }
    parts <- "type" %in% colnames(table) && !"gene" %in% table$type
    if ("type" %in% colnames(table) && !parts) {
        table <- table[table$type %in% "gene", , drop = FALSE]
    }
    text <- function(names, default) {
        values <- pick(names)
        values <- if (is.null(values)) rep(default, nrow(table)) else as.character(values)
        replace(values, is.na(values), default)
    }
    id <- text("gene_id", "")
    name <- text(names$name, "")
    genes <- data.frame(
        name = ifelse(nzchar(name), name, id), chromosome = text(names$chromosome, ""), start = as.numeric(table$start), end = as.numeric(table$end),
        strand = text("strand", "*"), biotype = text(c("gene_biotype", "gene_type", "biotype"), "")
    )
    genes <- genes[nzchar(genes$name), , drop = FALSE]
    if (nrow(genes) == 0 || anyNA(genes$start) || anyNA(genes$end) || any(genes$start < 1) || any(genes$end < genes$start)) {
        abort_tutti("data", "`annotation` has no genes, or places that are none; `start` and `end` are the first and the last base, from 1.", call)
    }
    if (parts) {
        key <- paste(genes$name, genes$chromosome, genes$strand, sep = "\t")
        first <- !duplicated(key)
        of <- match(key, key[first])
        starts <- as.numeric(tapply(genes$start, of, min))
        ends <- as.numeric(tapply(genes$end, of, max))
        genes <- genes[first, , drop = FALSE]
        genes$start <- starts
        genes$end <- ends
    }
    as.list(genes)
}

#' Embed cells by their peaks
#'
#' Latent semantic indexing: term frequency times inverse document frequency, its logarithm, and singular vectors, as Signac's `RunTFIDF()` and `RunSVD()` by their
#' defaults. Nothing is trained. Batches are not corrected.
#'
#' The first dimension mostly follows the depth of the cells. It is left out where the size of its correlation with the log of the cells' totals is above
#' `max.depth.correlation`.
#'
#' @param object Counts of peaks, or 0 and 1: a Seurat object, a SingleCellExperiment or a matrix of peaks x cells.
#' @param n.components Singular vectors that are computed.
#' @param scale.factor Multiplies the product before the logarithm.
#' @param standardise Bring each dimension to mean 0 and standard deviation 1 over the cells? Otherwise it is as long as its singular value.
#' @param max.depth.correlation See above; `NULL` keeps the first dimension.
#' @param assay,layer Assay and layer to read.
#' @param reduction.name,reduction.key Name and key of the reduction.
#' @param seed.use,threads,verbose As in [RunConcord()].
#' @return The object with a reduction `lsi`; for a matrix, the coordinates, one row per cell. The attributes (in a Seurat object `Misc(object[["lsi"]])`)
#'   `depth.correlation` and `singular.values` are of all `n.components`; `first.left.out` says whether the first is not among the coordinates.
#' @examples
#' set.seed(1)
#' peaks <- Matrix::rsparsematrix(100, 40, 0.2, rand.x = function(n) rep(1, n))
#' dimnames(peaks) <- list(paste0("peak", 1:100), paste0("cell", 1:40))
#' dim(RunPeakLSI(peaks, n.components = 5, verbose = FALSE))
#' @family transfer
#' @export
RunPeakLSI <- function(object, n.components = 50, scale.factor = 10000, standardise = TRUE, max.depth.correlation = 0.75, assay = NULL, layer = NULL,
                       reduction.name = "lsi", reduction.key = "LSI_", seed.use = 42, threads = NULL, verbose = TRUE) {
    call <- rlang::current_env()
    input <- peaks_input(object, assay, layer, call)
    options <- list(
        n_components = check_count(n.components), scale_factor = check_number(scale.factor), standardise = check_flag(standardise),
        max_depth_correlation = if (!is.null(max.depth.correlation)) check_share(max.depth.correlation),
        seed = check_count(seed.use, least = 0), threads = tutti_threads(threads)
    )
    out <- call_rust(rust_lsi, input, options)
    if (check_flag(verbose)) {
        inform(out$note, class = "tutti_message")
    }
    key <- sub("_*$", "_", reduction.key)
    embedding <- out$embedding
    dimnames(embedding) <- list(input$cells, paste0(key, seq_len(ncol(embedding))))
    told <- list(depth.correlation = out$depth_correlation, singular.values = out$singular_values, first.left.out = out$first_left_out)
    if (methods::is(object, "Seurat")) {
        embedding <- embedding[colnames(object), , drop = FALSE]
        object[[reduction.name]] <- SeuratObject::CreateDimReducObject(embeddings = embedding, assay = input$assay, key = key, misc = told)
        return(object)
    }
    if (methods::is(object, "SingleCellExperiment")) {
        name <- if (missing(reduction.name)) "LSI" else reduction.name
        SingleCellExperiment::reducedDim(object, name) <- embedding[colnames(object), , drop = FALSE]
        return(object)
    }
    do.call(structure, c(list(embedding), told))
}
