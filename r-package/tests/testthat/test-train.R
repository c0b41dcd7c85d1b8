test_that("the history has a row per epoch and the losses by name, and falls", {
    history <- TrainingHistory(run(five_clusters(), "batch", n_epochs = 10, latent_dim = 16, batch_size = 64, use_decoder = TRUE))
    expect_identical(history$epoch, as.numeric(1:10))
    expect_true(all(c("loss", "learning_rate", "reconstruction") %in% names(history)))
    expect_lt(history$loss[[10]], history$loss[[1]])
})

test_that("what is trained on is said, and nothing without `verbose`", {
    said <- capture_messages(RunConcord(pbmc(), "groups", n_epochs = 1, latent_dim = 4))
    expect_match(said[[1]], "Values: raw counts; genes: 20 given", fixed = TRUE)
    expect_silent(run(pbmc(), "groups"))
    expect_error(RunConcord(pbmc(), "groups", verbose = NA), class = "tutti_error_argument")
})

test_that("a user's progress handler hears of every epoch", {
    skip_if_not_installed("progressr")
    heard <- 0
    reporter <- list(update = function(config, state, progression, ...) heard <<- heard + progression$amount)
    count <- progressr::make_progression_handler("count", reporter, intrusiveness = 0, enable = TRUE, interval = 0)
    suppressMessages(progressr::with_progress(RunConcord(pbmc(), "groups", n_epochs = 3, latent_dim = 4), handlers = count, enable = TRUE))
    expect_identical(heard, 3)
})

test_that("a loss that is not finite ends training with what was good", {
    fails <- function(pointer, seconds) structure(list(kind = "non_finite", message = "the loss became NaN"), class = "tutti_failure")
    expect_warning(
        object <- with_internal(list(rust_concord_advance = fails), run(pbmc(), "groups")),
        "after 0 of 2 epochs: the loss became NaN", class = "tutti_warning_stopped"
    )
    expect_true("concord" %in% SeuratObject::Reductions(object))
})

# Waits until `condition()` holds; FALSE if it does not within the time.
wait_for <- function(condition, seconds) {
    until <- Sys.time() + seconds
    while (Sys.time() < until) {
        if (condition()) {
            return(TRUE)
        }
        Sys.sleep(0.02)
    }
    FALSE
}

test_that("Ctrl-C ends training within a second and keeps what was trained", {
    skip_on_cran()
    skip_on_os("windows")
    folder <- tempfile("interrupted")
    dir.create(folder)
    file <- function(name) file.path(folder, name)
    code <- bquote({
        .libPaths(.(.libPaths()))
        library(tutti)
        warned <- NULL
        started <- function(condition) {
            saveRDS(Sys.getpid(), .(file("part")))
            file.rename(.(file("part")), .(file("pid")))
        }
        stopped <- function(condition) {
            warned <<- class(condition)
            invokeRestart("muffleWarning")
        }
        object <- withCallingHandlers(
            RunConcord(SeuratObject::pbmc_small, "groups", n_epochs = 1e6),
            tutti_message = started, tutti_warning_stopped = stopped
        )
        saveRDS(list(warned = warned, reductions = names(object), epochs = nrow(TrainingHistory(object))), .(file("part")))
        file.rename(.(file("part")), .(file("result")))
    })
    writeLines(deparse(code), file("child.R"))
    system2(file.path(R.home("bin"), "Rscript"), c("--vanilla", shQuote(file("child.R"))), stdout = FALSE, stderr = FALSE, wait = FALSE)
    expect_true(wait_for(function() file.exists(file("pid")), 60))
    pid <- readRDS(file("pid"))
    on.exit(tools::pskill(pid, tools::SIGKILL))
    Sys.sleep(1)
    expect_false(file.exists(file("result")))
    tools::pskill(pid, tools::SIGINT)
    # The rest is room for a busy machine.
    expect_true(wait_for(function() file.exists(file("result")), 3))
    result <- readRDS(file("result"))
    expect_true("tutti_warning_stopped" %in% result$warned)
    expect_true("concord" %in% result$reductions)
    expect_gt(result$epochs, 0)
})

test_that("forked processes train after their parent did", {
    skip_on_cran()
    skip_on_os("windows")
    expected <- embed()
    jobs <- lapply(1:2, function(i) parallel::mcparallel(embed(threads = i)))
    on.exit(tools::pskill(vapply(jobs, function(job) job$pid, 0L), tools::SIGKILL))
    # Not mclapply, which would wait for ever for a child that hangs.
    collect <- function(job) {
        result <- NULL
        wait_for(function() !is.null(result <<- parallel::mccollect(job, wait = FALSE, timeout = 0.1)[[1]]), 30)
        result
    }
    for (job in jobs) {
        expect_identical(collect(job), expected)
    }
})
