library(testthat)
library(tutti)

test_check("tutti")
