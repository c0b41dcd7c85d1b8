#' Integration of single-cell data by contrastive learning
#'
#' One call integrates the batches of a Seurat object, a SingleCellExperiment or a sparse matrix ([RunConcord()]); what follows is as with any other
#' reduction: `RunUMAP(object, reduction = "concord", dims = 1:100)`, `FindNeighbors`, `FindClusters`. No Python, no conda, no reticulate and no
#' graphics card are needed.
#'
#' @section Options:
#' `tutti.threads`: threads of every call (default: all processors, 2 within `R CMD check`). Results do not depend on it.
#'
#' @useDynLib tutti, .registration = TRUE
#' @importClassesFrom Matrix dgCMatrix
#' @importClassesFrom SeuratObject SeuratCommand
#' @importFrom methods as is new slot
#' @importFrom rlang abort inform warn
#' @keywords internal
"_PACKAGE"
