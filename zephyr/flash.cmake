# Page and write size of a partition's flash from the devicetree: the component has them as constants. The shim
# compares them with the driver at boot.

# sota_flash_geometry(<chosen> <prefix>): sets <prefix>_PAGE and <prefix>_WRITE (bytes) in the caller.
function(sota_flash_geometry chosen prefix)
  dt_chosen(node PROPERTY "${chosen}")
  # The partition is below `partitions` (or a partition that has partitions), that is below the flash.
  while(NOT node STREQUAL "" AND NOT node STREQUAL "/")
    dt_prop(page PATH "${node}" PROPERTY "erase-block-size")
    dt_prop(write PATH "${node}" PROPERTY "write-block-size")
    if(DEFINED page AND DEFINED write)
      break()
    endif()
    unset(page)
    unset(write)
    get_filename_component(node "${node}" DIRECTORY)
  endwhile()
  if(NOT DEFINED page)
    set(page ${CONFIG_SOTA_FLASH_PAGE_SIZE})
    set(write ${CONFIG_SOTA_FLASH_WRITE_SIZE})
  endif()
  set(${prefix}_PAGE ${page} PARENT_SCOPE)
  set(${prefix}_WRITE ${write} PARENT_SCOPE)
endfunction()
