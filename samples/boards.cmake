# The samples run on the boards of the stand-alone application with its settings of the board. Set before
# find_package(Zephyr): a product has these lines in its own files.
set(SOTA_ROOT ${CMAKE_CURRENT_LIST_DIR}/..)
list(APPEND EXTRA_ZEPHYR_MODULES ${SOTA_ROOT})
string(REPLACE "/" "_" sota_board "${BOARD}")
if(EXISTS ${SOTA_ROOT}/boards/${sota_board}.conf)
  list(PREPEND EXTRA_CONF_FILE ${SOTA_ROOT}/boards/${sota_board}.conf)
  list(PREPEND EXTRA_DTC_OVERLAY_FILE ${SOTA_ROOT}/boards/${sota_board}.overlay)
endif()
